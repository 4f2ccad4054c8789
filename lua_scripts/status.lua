-- status: where each of these users stands. Also heals whoever is in both line and hash.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[4]  sighting  '1': asking shows that the user is there; '0': somebody else asks (the regular updates)
-- ARGV[5…] users     user ids, at most 256; none at all asks for the room's own numbers
--
-- Returns  {summary, answer per user…}; codes: ALLOWED_IN, WAITING, NONE (also for an expired session)
-- Publishes ADMITTED for whoever was in both.
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
