-- The numbers of each minute, which the sweep keeps: what was counted in it, and how the room stood at its end. Needs clock
-- and room.
--
-- The zset minutes has the score: minutes since the epoch, and the member: JSON of minute_numbers, with the minute, so that no
-- two are the same. The hash watch has the minute that is under way, and in minute_totals, as JSON, the totals at its
-- beginning. A minute in which the room was empty and nothing was counted has no entry.

-- A day.
local MINUTES_KEPT = 1440

-- All totals ever: those of tally, and of pace the numbers by class.
local function totals_ever()
  local found = {}
  for at, key in ipairs({ tally, pace }) do
    local fields = redis.call('HGETALL', key)
    for place = 1, #fields, 2 do
      if at == 1 or string.find(fields[place], '^%l+:%d+$') then
        found[fields[place]] = number_within(fields[place + 1], 0, EXACT)
      end
    end
  end
  return found
end

-- What was counted since the totals were as in the JSON `before`, and how the room stands. A total that has become lower has
-- started again. Returns the numbers, and whether there are any.
local function minute_numbers(minute, before)
  local sound, totals = pcall(cjson.decode, before)
  totals = sound and type(totals) == 'table' and totals or {}
  local any = waiting + held + parked_count > 0
  local numbers = { minute = minute, waiting = waiting, ['inside'] = held, ['absent'] = parked_count }
  for name, total in pairs(totals_ever()) do
    local count = total - (number_within(totals[name], 0, total) or 0)
    if count > 0 then
      numbers[name], any = count, true
    end
  end
  return numbers, any
end

-- The minute that is under way, and the totals at its beginning. A room that was never swept has counted everything in it;
-- one that an earlier version swept begins now.
local function minute_under_way(watch, this_minute)
  local stored = redis.call('HMGET', watch, 'minute', 'minute_totals', 'swept_at')
  local minute = number_within(stored[1], 0, EXACT)
  if minute then
    return math.min(minute, this_minute), stored[2] or '{}', minute == this_minute
  end
  return this_minute, stored[3] and cjson.encode(totals_ever()) or '{}', false
end

-- Ends the minute that was under way, if it is over. Called before the sweep counts anything.
local function keep_minute(watch, minutes)
  local this_minute = math.floor(now / 60000)
  local minute, totals, is_known = minute_under_way(watch, this_minute)
  if is_known then
    return
  end
  if minute < this_minute then
    local numbers, any = minute_numbers(minute, totals)
    if any then
      write('ZADD', minutes, minute, cjson.encode(numbers))
    end
    totals = cjson.encode(totals_ever())
    redis.call('ZREMRANGEBYSCORE', minutes, '-inf', this_minute - MINUTES_KEPT)
  end
  write('HSET', watch, 'minute', this_minute, 'minute_totals', totals)
end
