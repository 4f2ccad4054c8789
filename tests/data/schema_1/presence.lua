-- presence: a user opened the first stream at an instance, or closed the last one.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[12] here   set: users with an open stream at this instance
-- ARGV[4…] pairs  'arrived' or 'departed', and user id, at most 256 pairs
--
-- Returns  {summary}
-- Publishes nothing.
--
-- Repeating a pair changes nothing, so an instance may report all its users again after an outage.
--
--- @include clock
--- @include room
--- @include place
--- @include presence
--- @include summary
local here = KEYS[12]
local FIRST_PAIR = 4

do
  local wrong = wrong_type({ { here, 'set' } })
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
  elseif redis.call('SREM', here, user) == 1 then
    one_instance_less(user, now)
  end
end
return { summary(false) }
