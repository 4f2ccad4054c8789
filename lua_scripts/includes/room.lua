-- What every script of a room begins with: its keys by name, its limits, its numbers.
--
-- KEYS[1]  line      zset    user -> ticket, the waiting
-- KEYS[2]  inside    hash    user -> epoch second of the last gated request, the allowed in
-- KEYS[3]  counter   string  the last ticket given
-- KEYS[4]  settings  hash    capacity, duration_ms, paused (and what includes/limits.lua adds)
-- KEYS[5]  activity  zset    user -> epoch millisecond of the last gated request, an index of inside
-- KEYS[6]  absent    zset    user -> epoch millisecond of the last sighting, of the waiting without a stream
-- KEYS[7]  streams   hash    user -> number of instances that hold an open stream of theirs
-- KEYS[8]  pace      hash    admissions, exposure_ms, at: how fast the line moves
-- KEYS[9]  tally     hash    how many were ever admitted, expired, evicted, …
-- ARGV[1]  channel           where changes are published
-- ARGV[2]  default_capacity  slots, used (and written) where Redis holds no usable limit
-- ARGV[3]  default_duration  milliseconds, likewise
--
-- Fails, before anything is written, if a key holds another type: 'WRONGTYPE_KEY <key>'.
local line, inside, counter, settings, activity, absent, streams, pace, tally =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local channel, default_capacity, default_duration = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- A slot or a place removed, and a user admitted, by one call at most: bounds how long Redis is held.
local MOST = 256

do
  local types = {
    { line, 'zset' }, { inside, 'hash' }, { counter, 'string' }, { settings, 'hash' }, { activity, 'zset' },
    { absent, 'zset' }, { streams, 'hash' }, { pace, 'hash' }, { tally, 'hash' },
  }
  for _, pair in ipairs(types) do
    local found = redis.call('TYPE', pair[1]).ok
    if found ~= 'none' and found ~= pair[2] then
      return redis.error_reply('WRONGTYPE_KEY ' .. pair[1])
    end
  end
end

-- A number that is finite and within [low, high], or nil.
local function number_within(value, low, high)
  local number = tonumber(value)
  if number and number >= low and number <= high then
    return number
  end
  return nil
end

-- Whole numbers are exact up to here; no ticket, time or limit may be above.
local EXACT = 9007199254740991

local stored_limits = redis.call('HMGET', settings, 'capacity', 'duration_ms', 'paused')
local capacity = number_within(stored_limits[1], 0, EXACT)
local duration = number_within(stored_limits[2], 1, EXACT)
local paused = stored_limits[3] == '1'
if not capacity then
  capacity = default_capacity
  redis.call('HSET', settings, 'capacity', string.format('%.0f', capacity))
end
if not duration then
  duration = default_duration
  redis.call('HSET', settings, 'duration_ms', string.format('%.0f', duration))
end

local held = redis.call('HLEN', inside)
local waiting = redis.call('ZCARD', line)
local waited = waiting > 0

-- What this call did, by the names under which the tally keeps the totals.
local done = { admitted = 0, promoted = 0, expired = 0, evicted = 0, left = 0, removed = 0, lineups = 0 }

local function as_ticket(score)
  return string.format('%.0f', score)
end

-- Tell every instance: event is ADMITTED, LEFT, ABSENT or OPERATOR; people is a list of {user, ticket as text}.
local function tell(event, people)
  if #people > 0 then
    redis.call('PUBLISH', channel, cjson.encode({ event = event, people = people, expires_ms = duration }))
  end
end
