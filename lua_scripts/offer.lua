-- offer: a visitor gets a code with which another device can take the place over; the same one as long as it is good.
--
-- KEYS[1]  offered  string: the code that the visitor was given; its name ends with 32 characters of a hash
-- KEYS[2]  taken    string: the visitor to whom the new code belongs; likewise
-- KEYS[3]  given    zset: the ends of both names, one after the other -> epoch millisecond until which the code is good
-- ARGV[1]  code     a new code, made by the caller; taken if the visitor has none
-- ARGV[2]  holder   room and visitor, as text
-- ARGV[3]  for_ms   how long a new code is good
-- ARGV[4]  most     codes that are kept at a time, used ones included
--
-- Returns  {code, milliseconds that it is still good}; the code is '' if another visitor has the new one
-- Publishes nothing.
--
-- A visitor may leave and come back as another one without end, and codes outlive places. So one code too many ends the
-- first ones. Their keys are in the slot of these.
--
--- @include clock
local offered, taken, given = KEYS[1], KEYS[2], KEYS[3]
local code, holder, for_ms, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local HASH = 32

local known, left = redis.call('GET', offered), redis.call('PTTL', offered)
if known and left > 0 then
  return { known, left }
end
if redis.call('EXISTS', taken) == 1 then
  return { '', 0 }
end

local function end_first_codes()
  redis.call('ZREMRANGEBYSCORE', given, '-inf', now)
  local over = math.min(256, redis.call('ZCARD', given) - most + 1)
  if over > 0 then
    for _, ends in ipairs(redis.call('ZRANGE', given, 0, over - 1)) do
      redis.call('DEL', string.sub(offered, 1, -HASH - 1) .. string.sub(ends, 1, HASH),
        string.sub(taken, 1, -HASH - 1) .. string.sub(ends, HASH + 1))
      redis.call('ZREM', given, ends)
    end
  end
end

-- Changes nothing: Redis at maxmemory refuses SET only as a script's first write (see write in includes/room.lua).
redis.call('DEL', taken)
end_first_codes()
redis.call('SET', taken, holder, 'PX', for_ms)
redis.call('SET', offered, code, 'PX', for_ms)
-- Of codes of one millisecond the first one goes first, too.
local last = tonumber(redis.call('ZRANGE', given, -1, -1, 'WITHSCORES')[2] or nil) or 0
redis.call('ZADD', given, string.format('%.3f', math.max(now + tonumber(for_ms), last + 0.001)),
  string.sub(offered, -HASH) .. string.sub(taken, -HASH))
redis.call('PEXPIRE', given, for_ms)
return { code, tonumber(for_ms) }
