-- lineup: each of these users lines up, first come first served. A parked user returns with the same ticket.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] lineups       hash, see includes/lineups.lua
-- KEYS[20] last_lineups  zset, likewise
-- KEYS[21] draw          hash, see gather.lua
-- KEYS[22…] invitations  one key per user, see includes/invitations.lua; none if all users are eligible
-- ARGV[5]  wanted        the lane of each user for the case of a new ticket or registration, separated by blanks; ''
--                        without lanes
-- ARGV[6…] users         user ids, at most 256. With invitations three per user: user id, how often the invitation may be
--                        used (0: the user has none), until when (epoch ms)
--
-- Returns  {summary (includes/summary.lua), answer per user (includes/place.lua)…}; codes:
--          ADMITTED (a slot is free and it is the user's turn), ALLOWED_IN (already; not renewed), WAITING, REGISTERED
--          (in the pre-queue, with what the user's salt is made of if there is a draw).
--          Refused, with nothing changed for this user: FULL (Redis is at maxmemory and the user has no place yet),
--          ROOM_FULL (by max_waiting, likewise), TOO_MANY_LINEUPS, NOT_ELIGIBLE (no place yet, and no good invitation),
--          CLOSED (the room takes no lineups), UNPREPARED (call gather.lua, then line the user up again),
--          SOLD_OUT
-- Publishes UNCLAIMED for each user removed for a slot not claimed in time, ADMITTED for each user promoted
--           from the line. A user admitted at once has no ticket and no stream.
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
--- @include closing
--- @include parking
--- @include session
--- @include promote
--- @include claims
--- @include lineups
--- @include invitations
local lineups, last_lineups, draw, wanted = KEYS[19], KEYS[20], KEYS[21], ARGV[5]
local log = { lineups, last_lineups }
--- @include admission
--- @include summary
--- @rarely leave_lane, take_out, deal, park, return_to_line, note_stay, close_window, end_session, leave_line
--- @rarely settle, fill_slots, lapse_if_over, read_ages, keep_ages, may_free, has_place, uses_of, line_up_by
--- @rarely look_up_newcomers, look_up_parked
local FIRST_INVITATION = 22
local FIRST_USER = 6

do
  local wrong = begin_lineups(wanted, FIRST_USER, KEYS[FIRST_INVITATION] and 3 or 1)
  if wrong then
    return wrong
  end
end
local answers = { false }
if KEYS[FIRST_INVITATION] then
  for at = FIRST_USER, #ARGV, 3 do
    local invitation = KEYS[FIRST_INVITATION + (at - FIRST_USER) / 3]
    local uses, expires = number_within(ARGV[at + 1], 0, EXACT), number_within(ARGV[at + 2], 0, EXACT)
    answers[#answers + 1] = line_up_by(invitation, uses or 0, expires or 0, ARGV[at], line_up_and_note)
  end
else
  lapse_overdue(FIRST_USER)
  if #ARGV >= FIRST_USER + FEW then
    look_up_newcomers(FIRST_USER)
    look_up_parked(FIRST_USER)
  end
  for at = FIRST_USER, #ARGV do
    answers[#answers + 1] = line_up_and_note(ARGV[at])
  end
end
keep_counter()
keep_pace(false)
answers[1] = summary(false)
return answers
