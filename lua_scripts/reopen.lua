-- reopen: the gateway itself answered a gated call of each of these users with 502, 503 or 504. If none of a user's calls
-- since the promotion reached the service, the window in which the user must claim the slot begins again.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[5…] users  user ids, at most 256; an id may occur several times. Each stands for one call that gate.lua answered
--                 as one of the first that may claim the slot
--
-- Returns  {summary}
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
--- @include claims
--- @include summary
estimates = false
for _, user in ipairs({ unpack(ARGV, 5) }) do
  local calls = claiming() and number_within(redis.call('ZSCORE', claims, user), -FIRST_CALLS, -1)
  local left = calls and session_left(user)
  if left and left > 0 then
    write('ZADD', claims, calls < -1 and calls + 1 or now, user)
  end
end
return { summary(false) }
