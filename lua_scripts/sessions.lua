-- sessions: since when these users are allowed in. The call is no sighting of the users, and renews nothing.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[5…] users  user ids, at most 256
--
-- Returns  {summary, began per user…}; began: the epoch millisecond of the admission, which is another one for each session;
--          '?' if another system admitted the user, and '' if the user is not allowed in
-- Publishes nothing.
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
--- @include summary
estimates = false
local answers = { false }
for _, user in ipairs({ unpack(ARGV, 5) }) do
  local left = session_left(user)
  local began = left and left > 0 and (number_within(redis.call('ZSCORE', since, user), 0, EXACT) or '?')
  answers[#answers + 1] = began == '?' and began or began and string.format('%.0f', began) or ''
end
answers[1] = summary(false)
return answers
