-- status: where each of these users stands. Puts parked users back in line, and corrects users who are in both line and
-- hash.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[5]  sighting  '1': the call counts as a sighting of the users; '0': it does not (the regular updates)
-- ARGV[6…] users     user ids, at most 256; without any, only the room's numbers are returned
--
-- Returns  {summary, answer per user…}; codes: ALLOWED_IN, WAITING, REGISTERED, NONE (also for an expired session),
--          SOLD_OUT
-- Publishes UNCLAIMED for each user removed for a slot not claimed in time, ADMITTED for each user who was in
--           both, and for each user promoted.
--
-- A parked user who gets a regular update has an open stream, so the user is there, and returns to the line. Then it may
-- be the user's turn at once.
--
--- @include clock
--- @include room
looks_up_lanes = #ARGV >= 6
--- @include lanes
--- @include rate
--- @include history
--- @include tickets
--- @include place
--- @include opening
--- @include parking
--- @include session
--- @only if parked_count > 0 or rule.claim_ms > 0
--- @include promote
--- @end
--- @include claims
--- @include summary
--- @rarely leave_lane, take_out, deal, park, return_to_line, note_stay, close_window, end_session, leave_line
--- @rarely settle, fill_slots, lapse_if_over, read_ages, keep_ages, look_up_parked
local sighting = ARGV[5] == '1'
local FIRST_USER = 6

local function look(user)
  local left = session_left(user)
  if left and left > 0 then
    settle(user, left)
    return answer_inside(ALLOWED_IN, left, claim_by(user))
  end
  if rule.sold_out then
    return answer_refused(SOLD_OUT)
  end
  if come_back(user) then
    promote()
    left = session_left(user)
    if left and left > 0 then
      return answer_inside(ALLOWED_IN, left, claim_by(user))
    end
  end
  local ticket, lane = place_of(user)
  if rule.opening and is_registered(user, ticket) then
    return registration(user)
  end
  if not ticket then
    return answer_none()
  end
  if sighting then
    sighted(user)
  end
  return answer_waiting(lane, as_ticket(ticket), position_in(lane, user))
end

if lanes and looks_up_lanes then
  local wrong = look_up_lanes(unpack(ARGV, FIRST_USER))
  if wrong then
    return wrong
  end
end
lapse_overdue(FIRST_USER)
if #ARGV >= FIRST_USER + FEW then
  look_up_parked(FIRST_USER)
end
local answers = { false }
for at = FIRST_USER, #ARGV do
  answers[#answers + 1] = look(ARGV[at])
end
if (done.returns or 0) > 0 or (done.lapsed or 0) > 0 then
  keep_pace(false)
end
answers[1] = summary(false)
return answers
