-- signing_keys: gives all instances the same keys for passes and receipts, adds the next one, and drops ended ones.
--
-- KEYS[1]   keys     hash: id of a key -> '<from> <until> <private key>'; it signs from and until, in epoch ms
-- ARGV[1]   turn_ms  how long a key signs
-- ARGV[2]   keep_ms  how long a key is kept after it has signed
-- ARGV[3…]  fresh    ids and private keys in turn, made by the caller; only those that are wanted are taken
--
-- A key is kept here for one turn before it signs, so that everyone who verifies can learn it; only the first key signs
-- at once. If several instances bring keys at a time, those of the first one are taken. If no instance has called for
-- longer than a turn, the last key goes on until its successor has been known for a turn.
--
-- Returns  {now in ms, how many keys are wanted, {id, private key, from, until}, …}, the keys in the order of their turns
-- Publishes nothing.
--
--- @include clock
local keys = KEYS[1]
local turn_ms, keep_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local FIRST_FRESH = 3

if not turn_ms or turn_ms < 1 then
  return redis.error_reply('BAD_ARGUMENT turn_ms')
end
if not keep_ms or keep_ms < 0 then
  return redis.error_reply('BAD_ARGUMENT keep_ms')
end

-- Whole numbers, since Lua would write large ones as 1.8e+12.
local function whole(number)
  return string.format('%.0f', number)
end

local function write(key)
  -- Changes nothing: Redis at maxmemory refuses HSET only as a script's first write (see write in includes/room.lua).
  redis.call('HDEL', keys, '')
  redis.call('HSET', keys, key.id, whole(key.from) .. ' ' .. whole(key.ends) .. ' ' .. key.private)
end

local known = {}
local stored = redis.call('HGETALL', keys)
for at = 1, #stored, 2 do
  local from, ends, private = string.match(stored[at + 1], '^(%d+) (%d+) (.+)$')
  if from and tonumber(ends) + keep_ms > now then
    known[#known + 1] = {id = stored[at], from = tonumber(from), ends = tonumber(ends), private = private}
  else
    redis.call('HDEL', keys, stored[at])
  end
end
table.sort(known, function(one, other)
  if one.from ~= other.from then
    return one.from < other.from
  end
  return one.id < other.id
end)

-- How many keys are missing until there is one that signs and one that will.
local function wanted()
  local last = known[#known]
  if not last then
    return 2
  end
  return last.from <= now and 1 or 0
end

local at = FIRST_FRESH
local changed = false
while wanted() > 0 and ARGV[at] and ARGV[at + 1] do
  local last = known[#known]
  local from = now
  if last then
    from = math.max(last.ends, now + turn_ms)
    if last.ends < from then
      last.ends = from
      write(last)
    end
  end
  known[#known + 1] = {id = ARGV[at], from = from, ends = from + turn_ms, private = ARGV[at + 1]}
  write(known[#known])
  changed = true
  at = at + 2
end
if changed then
  redis.call('PEXPIRE', keys, whole(known[#known].ends + keep_ms - now))
end

local reply = {whole(now), wanted()}
for _, key in ipairs(known) do
  reply[#reply + 1] = {key.id, key.private, whole(key.from), whole(key.ends)}
end
return reply
