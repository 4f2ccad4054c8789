-- visitor_secret: gives all instances the same secret for visitors' cookies. Used unless an operator has set one.
--
-- KEYS[1]  secret  string
-- ARGV[1]  fresh   the secret that the caller knows, else a new one; taken if there is none
--
-- Returns  the secret
-- Publishes nothing.
--
local secret = KEYS[1]
local fresh = ARGV[1]

-- Anything shorter was not written by a gateway, and may be guessed.
local SHORTEST = 32

if #fresh < SHORTEST then
  return redis.error_reply('BAD_ARGUMENT fresh')
end
local known = redis.call('GET', secret)
if known and #known >= SHORTEST then
  return known
end
-- Changes nothing: Redis at maxmemory refuses SET only as a script's first write (see write in includes/room.lua).
redis.call('DEL', secret)
redis.call('SET', secret, fresh)
return fresh
