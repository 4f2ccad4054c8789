-- offer: a visitor gets a code with which another device can take the place over; the same one as long as it is good.
--
-- KEYS[1]  offered  string: the code that the visitor was given
-- KEYS[2]  taken    string: the visitor to whom the new code belongs
-- ARGV[1]  code     a new code, made by the caller; taken if the visitor has none
-- ARGV[2]  holder   room and visitor, as text
-- ARGV[3]  for_ms   how long a new code is good
--
-- Returns  {code, milliseconds that it is still good}; the code is '' if another visitor has the new one
-- Publishes nothing.
--
local offered, taken = KEYS[1], KEYS[2]
local code, holder, for_ms = ARGV[1], ARGV[2], ARGV[3]

local known, left = redis.call('GET', offered), redis.call('PTTL', offered)
if known and left > 0 then
  return { known, left }
end
if redis.call('EXISTS', taken) == 1 then
  return { '', 0 }
end
-- Changes nothing: Redis at maxmemory refuses SET only as a script's first write (see write in includes/room.lua).
redis.call('DEL', taken)
redis.call('SET', taken, holder, 'PX', for_ms)
redis.call('SET', offered, code, 'PX', for_ms)
return { code, tonumber(for_ms) }
