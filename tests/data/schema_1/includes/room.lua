-- The part that every script of a room begins with: its keys by name, its limits, its numbers.
--
-- KEYS[1]  line      zset    user -> ticket; the users who wait
-- KEYS[2]  inside    hash    user -> epoch second of the last gated request; the users who are allowed in
-- KEYS[3]  counter   string  the last ticket given
-- KEYS[4]  settings  hash    capacity, duration_ms, paused (and what limits.lua, configure.lua and older.lua add)
-- KEYS[5]  activity  zset    user -> epoch millisecond of the last gated request; an index of inside
-- KEYS[6]  absent    zset    user -> epoch millisecond of the last sighting, of users who wait; a stream adds none
-- KEYS[7]  streams   hash    user -> number of instances at which the user has an open stream
-- KEYS[8]  pace      hash    how fast the line moves: admissions, slot_ms, departures, waited_ms, at, rate,
--                            abandon_rate, still_ms
-- KEYS[9]  tally     hash    totals ever: admitted, expired, evicted, …
-- KEYS[10] since     zset    user -> epoch millisecond of the admission, of users allowed in; not from older systems
-- KEYS[11] marks     zset    epoch millisecond -> the highest ticket then, about one per second of the line
-- ARGV[1]  channel           the pub/sub channel of the events
-- ARGV[2]  default_capacity  slots; used, and then written, if Redis holds no usable limit
-- ARGV[3]  default_duration  milliseconds; likewise
--
-- Fails before the first write if a key holds another type ('WRONGTYPE_KEY <key>') or an argument is unusable
-- ('BAD_ARGUMENT <name>').
local line, inside, counter, settings, activity, absent, streams, pace, tally, since, marks =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]
local channel, default_capacity, default_duration = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- One call removes at most so many slots or places, and admits at most so many users: this bounds how long Redis is
-- blocked.
local MOST = 256

-- The error reply if one of these keys holds another type than it should, else nil. expected: list of {key, type}.
local function wrong_type(expected)
  for _, pair in ipairs(expected) do
    local found = redis.call('TYPE', pair[1]).ok
    if found ~= 'none' and found ~= pair[2] then
      return redis.error_reply('WRONGTYPE_KEY ' .. pair[1])
    end
  end
  return nil
end

local function bad_argument(name)
  return redis.error_reply('BAD_ARGUMENT ' .. name)
end

-- Whether ARGV, from index first on, consists of pairs that each begin with one of these words. words: a set.
local function all_pairs(first, words)
  for at = first, #ARGV, 2 do
    if not words[ARGV[at]] then
      return false
    end
  end
  return (#ARGV - first) % 2 == 1
end

do
  local wrong = wrong_type({
    { line, 'zset' }, { inside, 'hash' }, { counter, 'string' }, { settings, 'hash' }, { activity, 'zset' },
    { absent, 'zset' }, { streams, 'hash' }, { pace, 'hash' }, { tally, 'hash' },
    { since, 'zset' }, { marks, 'zset' },
  })
  if wrong then
    return wrong
  end
end

-- A write that may need memory. At maxmemory Redis refuses such a write only if it is the first one of a script. So a
-- write that changes nothing is done before it, and a script that has begun can always finish. Only lineups check the
-- memory first; see out_of_memory.
local writing = false
local function write(...)
  if not writing then
    writing = true
    redis.call('HDEL', settings, '')
  end
  return redis.call(...)
end

-- Whether Redis is at maxmemory. Tested before the first write, by a write that changes nothing.
local function out_of_memory()
  local reply = redis.pcall('SETRANGE', counter, 0, '')
  return type(reply) == 'table' and string.find(reply.err, 'OOM', 1, true) ~= nil
end

-- A number that is finite and within [low, high], or nil.
local function number_within(value, low, high)
  local number = tonumber(value)
  if number and number >= low and number <= high then
    return number
  end
  return nil
end

-- Whole numbers are exact up to this; no ticket, time or limit may be above it.
local EXACT = 9007199254740991

-- Limits are whole numbers; fractions are dropped.
local function limit(value, low)
  local number = number_within(value, low, EXACT)
  return number and math.floor(number)
end

default_capacity, default_duration = limit(default_capacity, 0), limit(default_duration, 1)
if not (default_capacity and default_duration) then
  return bad_argument('default_capacity, default_duration')
end

local stored_limits = redis.call('HMGET', settings, 'capacity', 'duration_ms', 'paused', 'older_since')
local stored_capacity, stored_duration = limit(stored_limits[1], 0), limit(stored_limits[2], 1)
local capacity, duration = stored_capacity or default_capacity, stored_duration or default_duration
local paused = stored_limits[3] == '1'

-- Whether an older system runs beside the gateways, as the last sweep found. If so, that system sweeps, and it admits
-- the users whom only it can notify.
local following = stored_limits[4] and true or false

local held = redis.call('HLEN', inside)
local waiting = redis.call('ZCARD', line)
local waiting_before, held_before, capacity_before = waiting, held, capacity

-- Whether the next user in line has an open stream at a gateway, so that the gateway can notify the user.
local function next_can_be_told()
  local head = redis.call('ZRANGE', line, 0, 0)
  return head[1] and redis.call('HEXISTS', streams, head[1]) == 1 or false
end

-- Whether an estimate may be shown. The gate shows none to users who pass, so it need not read how old sessions are.
local estimates = true

-- What this call did, by the names of the totals in tally.
local done = { admitted = 0, promoted = 0, expired = 0, evicted = 0, left = 0, removed = 0, lineups = 0 }

-- How long users admitted from the line had waited, and how long sessions ended by this call had lasted, in
-- milliseconds, where known.
local waits, stays = {}, {}

-- A score of the line as the ticket that answers and events show.
local function as_ticket(score)
  return string.format('%.0f', math.max(0, math.min(tonumber(score), EXACT)))
end

-- Publish to every instance. event is ADMITTED, LEFT, ABSENT or OPERATOR; people: list of {user, ticket as text}; left:
-- milliseconds that remain of the sessions of users admitted, a whole session unless given.
local function tell(event, people, left)
  if #people > 0 then
    redis.call('PUBLISH', channel, cjson.encode({ event = event, people = people, expires_ms = left or duration }))
  end
end
