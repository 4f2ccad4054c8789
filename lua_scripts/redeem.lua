-- redeem: another device uses a code, which is then gone.
--
-- KEYS[1]  taken    string: the visitor to whom the code belongs
-- KEYS[2]  offered  string: the code that this visitor was given
-- ARGV[1]  holder   room and visitor, as the caller has read them from taken
--
-- Returns  1 if the code was good, 0 if it has been used or has expired meanwhile
-- Publishes nothing.
--
local taken, offered = KEYS[1], KEYS[2]
local holder = ARGV[1]

if redis.call('GET', taken) ~= holder then
  return 0
end
redis.call('DEL', taken, offered)
return 1
