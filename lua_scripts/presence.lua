-- presence: a user opened the first stream at an instance, or closed the last one. An open stream puts a parked user
-- back in line.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] here   set: users with an open stream at this instance
-- ARGV[5…] pairs  'arrived' or 'departed', and user id, at most 256 pairs
--
-- Returns  {summary}
-- Publishes ADMITTED for each user promoted.
--
-- Repeating a pair changes nothing, so an instance may report all its users again after an outage.
--
--- @include clock
--- @include room
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
local here = KEYS[19]
local FIRST_PAIR = 5

do
  local wrong = wrong_type(here, 'set')
  if wrong then
    return wrong
  end
  if not all_pairs(FIRST_PAIR, { arrived = true, departed = true }) then
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
  elseif redis.call('SREM', here, user) == 1 then
    one_instance_less(user, now)
  end
end
if done.returns > 0 then
  keep_pace(false)
end
return { summary(false) }
