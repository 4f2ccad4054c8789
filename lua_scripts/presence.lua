-- presence: a user opened the first stream at an instance, or closed the last one. An open stream puts a parked user
-- back in line.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] here   set: users with an open stream at this instance
-- KEYS[20] several  hash: user -> number of open streams at this instance, of users who have more than one
-- ARGV[5…] pairs  'arrived', 'departed' or the number of open streams, and user id, at most 256 pairs
--
-- Returns  {summary}
-- Publishes ADMITTED for each user promoted.
--
-- Repeating a pair changes nothing, so an instance may report all its users again after an outage.
--
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include tickets
--- @include place
--- @include opening
--- @include parking
--- @include session
--- @include promote
--- @include presence
--- @include summary
local here, several = KEYS[19], KEYS[20]
local FIRST_PAIR = 5

do
  local wrong = wrong_type(here, 'SCARD') or wrong_type(several, 'HLEN')
  if wrong then
    return wrong
  end
  local words = { arrived = true, departed = true }
  for at = FIRST_PAIR, #ARGV, 2 do
    words[ARGV[at]] = words[ARGV[at]] or string.find(ARGV[at], '^%d%d?%d?%d?$') ~= nil
  end
  if not all_pairs(FIRST_PAIR, words) then
    return bad_argument('pairs')
  end
end

for at = FIRST_PAIR, #ARGV, 2 do
  local what, user = ARGV[at], ARGV[at + 1]
  if what == 'arrived' then
    if write('SADD', here, user) == 1 then
      one_more_instance(user)
    end
    if come_back(user) then
      promote()
    end
  elseif what == 'departed' then
    redis.call('HDEL', several, user)
    if redis.call('SREM', here, user) == 1 then
      one_instance_less(user, now)
    end
  elseif tonumber(what) > 1 then
    write('HSET', several, user, what)
  else
    redis.call('HDEL', several, user)
  end
end
if (done.returns or 0) > 0 then
  keep_pace(false)
end
return { summary(false) }
