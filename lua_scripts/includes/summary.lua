-- The summary, with which every script of a room ends. Needs clock, room, lanes, rate, history and opening.

-- Measures the pace of the line, as two ratios:
-- admissions from the line, per time that slots were held while the line stood;
-- departures from the line (users who leave, are evicted, are parked or move to the back, minus those who return from
-- parking), per time that users waited in it.
-- All four numbers fade with the length of a session (at least 30 s), so that the ratios follow the room. Nothing is
-- measured without a line, while paused, with more users allowed in than the capacity, or while an older system is
-- followed.
-- beat: measure even if nothing happened (the sweep does so, once a second).
local function keep_pace(beat)
  if following then
    write('HSET', pace, 'at', string.format('%.0f', now))
    return
  end
  local promoted = done.promoted or 0
  local departures = waiting_before + (done.lineups or 0) - promoted - waiting
  local waited = waiting_before > 0
  if not ((waiting > 0 and not waited) or (waited and (beat or promoted > 0 or departures ~= 0))) then
    return
  end
  -- The first line may begin when the room has just been filled and no session is near its end. Then each of these
  -- sessions counts as half an admission: on average, half of it is over when the line is measured.
  local function just_begun()
    local finished = (number_within(redis.call('HGET', tally, 'admitted'), 0, EXACT) or 0) - held_before
    return math.max(0, held_before - math.max(0, finished))
  end

  local stored = redis.call('HMGET', pace,
    'admissions', 'slot_ms', 'departures', 'waited_ms', 'at', 'rate', 'abandon_rate', 'still_ms')
  local admissions, slot_ms = number_within(stored[1], 0, EXACT), number_within(stored[2], 0, EXACT) or 0
  local departed = number_within(stored[3], 0, EXACT) or 0
  local waited_ms = number_within(stored[4], 0, EXACT) or 0
  local at = number_within(stored[5], 0, now)
  local still_ms = waited and number_within(stored[8], 0, EXACT) or 0
  if waited and at and not paused then
    local fade = math.max(duration, 30000)
    local keep = math.exp((at - now) / fade)
    local passed = fade * (1 - keep)
    still_ms = still_ms + (capacity_before > 0 and now - at or 0)
    departed, waited_ms = departed * keep, waited_ms * keep + passed * waiting_before
    if held <= capacity_before then
      admissions, slot_ms = admissions and admissions * keep, slot_ms * keep + passed * capacity_before
    end
  end
  if admissions then
    admissions = admissions + promoted
  elseif promoted > 0 then
    admissions = promoted + just_begun() / 2
  end
  departed = math.max(0, departed + (paused and 0 or departures))
  local rate, abandon_rate = stored[6], stored[7]
  -- The rate behind estimates changes only with an admission. Otherwise estimates would rise just because time passes,
  -- although a slot that has not become free for a while says little about when the next one will.
  if promoted > 0 and slot_ms >= 1 then
    -- Without the admissions of this call, unless they are the first: right after an admission the rate always looks
    -- too high.
    local measured = admissions - promoted
    rate = string.format('%.9g', (measured > 0 and measured or admissions) / slot_ms)
  end
  if waited_ms >= 1 and (promoted > 0 or departures > 0) then
    local measured = departed / waited_ms
    if promoted > 0 or measured > (number_within(abandon_rate, 0, EXACT) or 0) then
      abandon_rate = string.format('%.9g', measured)
    end
  end
  stored_rates = { rate or '', abandon_rate or '', promoted > 0 and 0 or still_ms, stored_rates[4] }
  write('HSET', pace,
    'admissions', admissions and string.format('%.9g', admissions) or '',
    'slot_ms', string.format('%.9g', slot_ms),
    'departures', string.format('%.9g', departed),
    'waited_ms', string.format('%.9g', waited_ms),
    'at', string.format('%.0f', now),
    'still_ms', string.format('%.0f', stored_rates[3]),
    'rate', stored_rates[1],
    'abandon_rate', stored_rates[2])
end

-- Admissions from the line per second, and departures per second and waiting user, as of the last admission, as text.
-- '0': not measured; or the line of an open room has stood still for three times the mean length of a session, and at
-- least one minute, so that the measured rate is no longer valid.
local function rates()
  local rate, abandon_rate = number_within(stored_rates[1], 1e-15, EXACT), number_within(stored_rates[2], 0, EXACT)
  if not rate or (number_within(stored_rates[3], 0, EXACT) or 0) > math.max(3 / rate, 60000) then
    return '0', '0'
  end
  -- A lower rate set by an operator counts at once, as a new capacity does.
  local measured = 1000 * capacity * rate
  local per_second = rule.refill and math.min(measured, 1000 * rule.refill / TOKEN_PARTS) or measured
  return string.format('%.9g', per_second), string.format('%.9g', 1000 * (abandon_rate or 0))
end

-- Milliseconds since admission of five sessions: the oldest, those at a quarter, a half and three quarters, and the
-- youngest.
local function read_ages()
  local found = {}
  for quarter = 0, 4 do
    local rank = math.floor(quarter * (known_sessions - 1) / 4 + 0.5)
    local one = redis.call('ZRANGE', since, rank, rank, 'WITHSCORES')
    found[#found + 1] = math.max(0, now - (number_within(one[2], 0, now) or now))
  end
  return found
end

-- While users wait, the hash pace holds these ages, after the moment at which they were so. A sweep writes them, and each
-- call that changes the key since, so that other calls need not read them there. Without a sweep for SESSIONS_MS they no longer
-- count: an instance of an earlier version, which changes since and writes no ages, may sweep.
local SESSIONS_MS = 2000

local function keep_ages()
  known_sessions = redis.call('ZCARD', since)
  if waiting > 0 and known_sessions > 1 then
    stored_rates[4] = string.format('%.0f %.0f %.0f %.0f %.0f %.0f', now, unpack(read_ages()))
    write('HSET', pace, 'sessions', stored_rates[4])
  elseif stored_rates[4] then
    stored_rates[4] = nil
    redis.call('HDEL', pace, 'sessions')
  end
end

-- The ages. Empty while no user waits, or if too few sessions are known; 0 if this call did not read them.
local function ages()
  if not estimates then
    return 0
  end
  if waiting == 0 or known_sessions < 2 or 2 * known_sessions < held then
    return {}
  end
  local at, a, b, c, d, e = string.match(stored_rates[4] or '', '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  if not number_within(at, now - SESSIONS_MS, now) then
    return read_ages()
  end
  local passed = now - at
  return { a + passed, b + passed, c + passed, d + passed, e + passed }
end

--- @only if following
-- The older system that is followed: {since, last sign (both in ms), which sign, users with an open stream here}; nil
-- if none is followed.
local function followed()
  if not following then
    return nil
  end
  local stored = redis.call('HMGET', settings, 'older_since', 'older_seen', 'older_sign')
  local began, seen = number_within(stored[1], 0, now) or now, number_within(stored[2], 0, now) or now
  return { began, seen, stored[3] or '', redis.call('HLEN', streams) }
end
--- @end

--- @only if timed
-- Times of opening and the pre-queue: {phase ('': none), what lineups come to (see entrance), opens_at, closes_at (both in
-- ms, 0: none), registered users, ms until a gateway has something to do (0: nothing)}; nil without any of these.
local function opening_numbers()
  local opening = rule.opening
  if not opening and rule.opens_at + rule.closes_at == 0 then
    return nil
  end
  local phase, way, opens_at, due = opening and opening.phase or '', entrance(), rule.opens_at, 0
  if rule.under_way then
    opens_at = opening.value
  elseif phase == 'gathering' then
    due = rule.without_moment and 0 or math.max(1, opens_at - now)
  elseif way == 'gather' then
    due = 1
  elseif way == 'closed' and rule.prequeue > 0 and opens_at > now then
    due = opens_at - rule.prequeue - now
  end
  return { phase, way, opens_at, rule.closes_at, registered_count(), due }
end
--- @end

-- The first element of every reply:
-- {waiting, allowed in, capacity, duration in ms, paused 0/1, rate, abandon rate, more 0/1, now in ms, ages, parked,
--  next token in ms, lanes, counts, features}
-- ages: a list of milliseconds, see ages().
-- next token: when the next user may be admitted if only the rate is in the way, see includes/rate.lua.
-- lanes: see lane_numbers(); 0: there are none.
-- counts: 0 if this call did nothing that counts; else {admitted, promoted, expired, evicted, left, removed, lineups, parkings,
--   returns, lapsed, unclaimed, registrations, waits, stays}. waits, stays: lists of milliseconds, see includes/room.lua.
-- features: 0 while the room uses none of them; else {following, mode, opening, doors, closed until in ms, implicit 0/1, stock,
--   notice version}. following: see followed(); opening: see opening_numbers(); each 0 if there is nothing. mode: 0 on, 1 off,
--   2 observe. implicit: the gate lines users up. stock: what is left to sell; -1: not known. notice version: changes with the
--   notice, see notice.lua; 0: there was none. doors: 1 closed, 2 sold out, 4 paused by an operator, added up. closed until:
--   0: no moment.
-- more: there is work left that one call may not do; call the sweep at once.
-- Few calls do anything and few rooms use every feature, and Redis takes about a microsecond for each number of a reply.
local function summary(unfinished)
  if not (stored_capacity and stored_duration) then
    write('HSET', settings,
      'capacity', string.format('%.0f', capacity), 'duration_ms', string.format('%.0f', duration))
  end
  if not stored_limits[5] then
    write_rules(rules)
  end
  for name, count in pairs(done) do
    -- Never a script's first write: whatever is counted here was written before. A total that is not a number, or is at
    -- its maximum, starts again.
    if count > 0 and type(redis.pcall('HINCRBY', tally, name, count)) == 'table' then
      write('HSET', tally, name, count)
    end
  end
  if #waits > 0 then
    -- How long the users waited whom this call admitted from the line: class 0 is below half a second, and each further
    -- class ends at 1.2 times the last one's end; see gateway/waiting_room/spread.py.
    local counts = {}
    for _, ms in ipairs(waits) do
      local class = ms < 500 and 0 or math.min(70, math.floor(math.log(ms / 500) / math.log(1.2)) + 1)
      counts[class] = (counts[class] or 0) + 1
    end
    for class, count in pairs(counts) do
      local name = 'wait:' .. class
      if type(redis.pcall('HINCRBY', pace, name, count)) == 'table' then
        write('HSET', pace, name, count)
      end
    end
  end
  if sessions_changed and (waiting > 0 or stored_rates[4]) then
    keep_ages()
  end
  keep_tokens()
  keep_lanes()
  keep_history()
  -- Or there are free slots that promoting could fill.
  local more = unfinished or not paused and capacity > held and waiting > 0 and tokens_left() ~= 0
    and (not following or next_can_be_told())
  local rate, abandon_rate = rates()
  local counts = 0
  if next(done) or #waits > 0 or #stays > 0 then
    counts = {
      done.admitted or 0, done.promoted or 0, done.expired or 0, done.evicted or 0, done.left or 0, done.removed or 0,
      done.lineups or 0, done.parkings or 0, done.returns or 0, done.lapsed or 0, done.unclaimed or 0,
      done.registrations or 0, waits, stays,
    }
  end
  local doors = (rule.closed and 1 or 0) + (rule.sold_out and 2 or 0) + (stored_limits[3] == '1' and 4 or 0)
  local features, times = 0, opening_numbers()
  if following or times or doors > 0 or rule.mode ~= 0 or rule.implicit or rule.stock or rule.notice then
    features = {
      followed() or 0, rule.mode, times or 0, doors, rule.closed_until or 0, rule.implicit and 1 or 0, rule.stock or -1,
      rule.notice or 0,
    }
  end
  return {
    waiting, held, capacity, duration, paused and 1 or 0, rate, abandon_rate, more and 1 or 0, now, ages(), parked_count,
    next_token() or 0, lane_numbers() or 0, counts, features,
  }
end
