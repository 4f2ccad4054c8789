-- gate: each of these users makes a gated request. Renews the sessions of users who are allowed in. Puts parked users
-- back in line, and admits them at once if it is their turn.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[5…] users  user ids, at most 256; an id may occur several times
--
-- Returns  {summary, answer per user…}; codes: ALLOWED_IN (renewed), WAITING (a sighting), REGISTERED, NONE, SOLD_OUT
-- Publishes UNCLAIMED for each user removed for a slot not claimed in time, ADMITTED for each user who was in
--           both line and hash, and for each user promoted.
--
-- The hot path: the number of commands does not depend on how many users are allowed in. A user whose session has
-- expired is refused here; the sweep removes the session.
--
--- @include clock
--- @include room
looks_up_lanes = #ARGV >= 5
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
--- @rarely settle, fill_slots, lapse_if_over, read_ages, keep_ages
--- @rarely assign_lane, lane_of, place_of, put_in_lane, highest_ticket, position_in, sighted, answer_waiting, answer_refused
--- @rarely unpark, come_back, session_left, promote, claim_by, keep_pace
local FIRST_USER = 5
local users, arrive = { unpack(ARGV, FIRST_USER) }, nil
if lanes and looks_up_lanes then
  local wrong = look_up_lanes(unpack(ARGV, FIRST_USER))
  if wrong then
    return wrong
  end
end
--- @include passing
answers[1] = summary(false)
return answers
