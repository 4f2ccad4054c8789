-- arrive: each of these users makes a gated request, as in gate; users without slot and place are lined up by it, as in
-- lineup.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] lineups       hash, see includes/lineups.lua
-- KEYS[20] last_lineups  zset, likewise
-- KEYS[21] draw          hash, see gather.lua
-- KEYS[22…] invitations  one key per user, see includes/invitations.lua; none if all users are eligible
-- ARGV[5]  wanted         the lane of each user for the case of a new ticket or registration, separated by blanks; ''
--                        without lanes
-- ARGV[6]  lines_up       a digit for each user: 1: the user is lined up in any case; 0: if lineup is implicit
-- ARGV[7…] arrivals       user ids, at most 256; an id may occur several times. With invitations three per user: user id, how
--                        often the invitation may be used (0: the user has none; '': the user needs none), until when
--                        (epoch ms)
--
-- Returns  {summary, answer per user…}; codes: ALLOWED_IN (renewed), ADMITTED (by this call, at once), WAITING (a place of
--          before; or of now, then the fifth element is 1), REGISTERED, NONE (not lined up), SOLD_OUT, and those with which
--          lineup refuses: FULL, ROOM_FULL, TOO_MANY_LINEUPS, NOT_ELIGIBLE, CLOSED, UNPREPARED
-- Publishes UNCLAIMED for each user removed for a slot not claimed in time, ADMITTED for each user who was in
--           both line and hash, and for each user promoted. A user admitted at once has no ticket and no stream.
--
-- A user whose session has expired has no slot any more. Users with a place never line up here again, so they keep it.
--
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include tickets
--- @include place
--- @include opening
--- @include closing
--- @include parking
--- @include session
--- @include promote
--- @include claims
--- @include lineups
--- @include invitations
local lineups, last_lineups, draw = KEYS[19], KEYS[20], KEYS[21]
local log = { lineups, last_lineups }
--- @include admission
--- @include summary
--- @rarely leave_lane, take_out, deal, park, return_to_line, note_stay, close_window, end_session, leave_line
--- @rarely settle, fill_slots, lapse_if_over, may_free, has_place, uses_of, line_up_by, read_ages, keep_ages
--- @rarely assign_lane, lane_of, place_of, put_in_lane, highest_ticket, position_in, sighted, answer_waiting, answer_refused
--- @rarely unpark, come_back, session_left, promote, claim_by, keep_pace
local FIRST_INVITATION = 22
local FIRST_USER = 7
local wanted, lines_up = ARGV[5], ARGV[6]
local STEP = KEYS[FIRST_INVITATION] and 3 or 1
local users = {}
for at = FIRST_USER, #ARGV, STEP do
  users[#users + 1] = ARGV[at]
end

-- How many users this call had brought back from parking when the last ticket was read.
local returns

local function arrive_anew(user, nth)
  if not rule.implicit and string.sub(lines_up, nth, nth) ~= '1' then
    return answer_none()
  end
  if not ticket then
    begin_lineups(wanted, FIRST_USER, STEP)
  elseif (done.returns or 0) > returns then
    -- A user who returns may have been given a new ticket.
    ticket = math.max(ticket, highest_ticket())
  end
  returns = done.returns or 0
  local at = FIRST_USER + STEP * (nth - 1)
  if STEP == 1 or ARGV[at + 1] == '' then
    return line_up_and_note(user)
  end
  local uses, expires = number_within(ARGV[at + 1], 0, EXACT), number_within(ARGV[at + 2], 0, EXACT)
  return line_up_by(KEYS[FIRST_INVITATION + nth - 1], uses or 0, expires or 0, user, line_up_and_note)
end

local function arrive(user, nth)
  local answer = arrive_anew(user, nth)
  if answer[1] == WAITING then
    answer[5] = 1
  end
  return answer
end
--- @include passing
keep_counter()
answers[1] = summary(false)
return answers
