-- Whether an older system, which shares the three keys of room default, runs beside the gateways. Needs clock and room.
--
-- While it runs, the gateways follow it: see "Following an older system" in docs/explanation/queue.md. The hash
-- settings holds what is known of it: older_since, older_seen and older_until (ms), older_sign (the strongest sign so
-- far), and older_notifications and older_sweep (the lock values seen last, so that a lock that was left behind is no
-- new sign).

-- Without a sweep for this long no gateway has observed the room.
local BLIND_MS = 5000

-- The older system's schedulers write a new value into these locks with each run: notifications every 10 s, sweeps
-- every 300 s. The last name is that of its first builds. The keys belong to the older system, so they have no prefix.
local NOTIFICATIONS_LOCK = 'job-lock:default:notifyQueueStatusUpdates'
local SWEEP_LOCKS = { 'job-lock:default:allowedInUserIdsCleanup', 'job-lock:default:allowedInTokenCleanup' }

-- Factors of follow_ms, which is 60 s by default. A system of which only sweeps are seen counts as gone after 330 s.
-- For the first 15 s after a time without sweeps, users whom no gateway knows are left alone.
local UNTIL_NEXT_SWEEP, FIRST_LOOK = 5.5, 0.25

local RANKS = { STRANGERS = 1, LINEUP = 2, RENEWAL = 2, SWEEP = 3, NOTIFICATIONS = 4, SETTING = 5 }

-- Whether any gateway swept lately. watch: the key in which the sweep keeps its state.
local function swept_lately(watch)
  return number_within(redis.call('HGET', watch, 'swept_at'), now - BLIND_MS, now) ~= nil
end

-- The value of a lock; '' also if it can't be read because a permission is missing or the key has another type.
local function lock_value(name)
  local value = redis.pcall('GET', name)
  return type(value) == 'string' and string.sub(value, 1, 100) or ''
end

local function sweep_lock_value()
  local value = lock_value(SWEEP_LOCKS[1])
  return value ~= '' and value or lock_value(SWEEP_LOCKS[2])
end

-- Whether no gateway knows the user in line: the user lined up elsewhere and was never seen here.
local function stranger(sighting, instances)
  return not sighting and not instances
end

-- Whether another system added the last user of the line since the last sweep, which recorded the highest ticket then.
local function newcomer_is_stranger()
  local last = redis.call('ZRANGE', line, -1, -1, 'WITHSCORES')
  local mark = redis.call('ZRANGE', marks, -1, -1, 'WITHSCORES')
  local ticket, highest = number_within(last[2], 0, EXACT), number_within(mark[2], 0, EXACT)
  return ticket and highest and ticket > highest
    and stranger(redis.call('ZSCORE', absent, last[1]), redis.call('HGET', streams, last[1]))
end

-- Whether a user whom no gateway knows is allowed in or among the first of the line.
local function strangers()
  if held > redis.call('ZCARD', activity) then
    return true
  end
  local head = redis.call('ZRANGE', line, 0, MOST - 1)
  if #head == 0 then
    return false
  end
  local sightings = redis.call('ZMSCORE', absent, unpack(head))
  local instances = redis.call('HMGET', streams, unpack(head))
  for at = 1, #head do
    if stranger(sightings[at], instances[at]) then
      return true
    end
  end
  return false
end

-- Begins to follow the older system, goes on, or stops.
-- follow: 'auto', 'on' or 'off'; follow_ms: milliseconds after its last sign for which the system counts as running;
-- anew: no gateway has swept lately; unknown: and there are strangers;
-- written_ms: when another system last wrote a session, as far as the scan found now, or 0.
local function judge(follow, follow_ms, anew, unknown, written_ms)
  local stored = redis.call('HMGET', settings,
    'older_until', 'older_seen', 'older_sign', 'older_notifications', 'older_sweep')
  local ends = following and number_within(stored[1], 0, EXACT) or 0
  local seen = following and number_within(stored[2], 0, now) or 0
  local sign = following and RANKS[stored[3]] and stored[3] or nil
  local news = {}

  local function note(what, at, lasts)
    seen, ends = math.max(seen, at), math.max(ends, at + lasts)
    if not sign or RANKS[what] >= RANKS[sign] then
      sign = what
    end
  end

  if follow == 'auto' then
    if sign == 'SETTING' then
      sign = nil
    end
    local sweep, notifications = sweep_lock_value(), lock_value(NOTIFICATIONS_LOCK)
    if sweep ~= '' and sweep ~= stored[5] then
      news = { 'older_sweep', sweep }
      note('SWEEP', now, sign == 'NOTIFICATIONS' and follow_ms or follow_ms * UNTIL_NEXT_SWEEP)
    end
    if notifications ~= '' and notifications ~= stored[4] then
      news[#news + 1] = 'older_notifications'
      news[#news + 1] = notifications
      -- The surest sign. Where it exists, there is no need to wait for sweeps.
      ends = 0
      note('NOTIFICATIONS', now, follow_ms)
    end
    if newcomer_is_stranger() then
      note('LINEUP', now, follow_ms)
    end
    if following and written_ms + follow_ms > now then
      note('RENEWAL', written_ms, follow_ms)
    end
    if anew and following then
      ends = math.max(ends, now + follow_ms * (sign == 'STRANGERS' and FIRST_LOOK or 1))
    elseif unknown and not sign then
      note('STRANGERS', now, follow_ms * FIRST_LOOK)
    end
  elseif follow == 'on' then
    note('SETTING', now, follow_ms)
  else
    ends = 0
  end

  if #news > 0 then
    write('HSET', settings, unpack(news))
  end
  if ends > now then
    if not following then
      write('HSET', settings, 'older_since', string.format('%.0f', now))
    end
    write('HSET', settings,
      'older_until', string.format('%.0f', ends),
      'older_seen', string.format('%.0f', seen),
      'older_sign', sign or 'SETTING')
  elseif following then
    redis.call('HDEL', settings, 'older_since', 'older_until', 'older_seen', 'older_sign')
  end
  following = ends > now
end
