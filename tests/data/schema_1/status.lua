-- status: where each of these users stands. Also corrects users who are in both line and hash.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[4]  sighting  '1': the call counts as a sighting of the users; '0': it does not (the regular updates)
-- ARGV[5…] users     user ids, at most 256; without any, only the room's numbers are returned
--
-- Returns  {summary, answer per user…}; codes: ALLOWED_IN, WAITING, NONE (also for an expired session)
-- Publishes ADMITTED for each user who was in both.
--
--- @include clock
--- @include room
--- @include session
--- @include place
--- @include summary
local sighting = ARGV[4] == '1'
local FIRST_USER = 5

local function look(user)
  local left = session_left(user)
  if left and left > 0 then
    settle(user, left)
    return answer_inside(ALLOWED_IN, left)
  end
  local ticket = redis.call('ZSCORE', line, user)
  if not ticket then
    return answer_none()
  end
  if sighting then
    sighted(user)
  end
  return answer_waiting(as_ticket(ticket), position_of(user))
end

local answers = { false }
for at = FIRST_USER, #ARGV do
  answers[#answers + 1] = look(ARGV[at])
end
answers[1] = summary(false)
return answers
