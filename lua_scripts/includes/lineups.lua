-- How often users line up: with lineups_per_minute each does so at most so often in any 60 s. A lineup that is refused does
-- not count. Needs clock and room.
--
-- log: {hash: user -> epoch milliseconds of the last lineups, joined by blanks, the latest last; zset: user -> the latest
-- of them}. The sweep removes users from both. The keys expire, so that nothing stays once the setting is 0.
local MINUTE = 60000

--- @only if rule.lineups > 0
-- The error reply if a key of the log holds another type, else nil.
local function unsound_log(log)
  return rule.lineups > 0 and (wrong_type(log[1], 'HLEN') or wrong_type(log[2], 'ZCARD')) or nil
end

-- The user's lineups of the last minute. A moment in the future counts for nothing.
local function lineups_of(log, user)
  local times = {}
  for text in string.gmatch(redis.call('HGET', log[1], user) or '', '%d+') do
    local at = number_within(text, now - MINUTE + 1, now)
    if at then
      times[#times + 1] = at
    end
  end
  return times
end

-- Milliseconds until the user may line up again; nil: the user may do so now.
local function lineup_wait(log, user)
  if rule.lineups == 0 then
    return nil
  end
  local times = lineups_of(log, user)
  local oldest = times[#times - rule.lineups + 1]
  return oldest and oldest + MINUTE - now
end

local function note_lineup(log, user)
  if rule.lineups == 0 then
    return
  end
  local times, kept = lineups_of(log, user), {}
  times[#times + 1] = now
  for at = math.max(1, #times - rule.lineups + 1), #times do
    kept[#kept + 1] = string.format('%.0f', times[at])
  end
  write('HSET', log[1], user, table.concat(kept, ' '))
  write('ZADD', log[2], now, user)
  redis.call('PEXPIRE', log[1], 2 * MINUTE)
  redis.call('PEXPIRE', log[2], 2 * MINUTE)
end

-- Removes at most MOST users whose last lineup no longer counts. Returns how many.
local function forget_lineups(log)
  if rule.lineups == 0 then
    return 0
  end
  local users = redis.call('ZRANGEBYSCORE', log[2], '-inf', now - MINUTE, 'LIMIT', 0, MOST)
  if #users > 0 then
    redis.call('HDEL', log[1], unpack(users))
    redis.call('ZREM', log[2], unpack(users))
  end
  return #users
end
--- @end
