-- leave: each of these users gives up a slot or a place in line, or an operator removes it. Parked and
-- registered users have a place.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] audit   stream, see includes/audit.lua
-- ARGV[5]  reason  'LEFT' (the user leaves) or 'OPERATOR'
-- ARGV[6]  by      the operator's name, '' if the user leaves
-- ARGV[7]  why     the operator's reason, or ''
-- ARGV[8…] pairs   what ('slot', 'line' or 'both') and user id, at most 256 pairs
--
-- Returns  {summary, code per pair…}; codes: LEFT_SLOT, LEFT_LINE, NOTHING (the user had neither; an expired
--          session does not count)
-- Publishes UNCLAIMED for each user removed for a slot not claimed in time, LEFT or OPERATOR for each user
--           who left the line, ADMITTED for each user promoted.
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
--- @include promote
--- @include claims
--- @include audit
--- @include summary
local reason, audit, by, why = ARGV[5], KEYS[19], ARGV[6], ARGV[7]
local FIRST_PAIR = 8
local NOTHING, LEFT_SLOT, LEFT_LINE = 0, 1, 2
local counted = ({ LEFT = 'left', OPERATOR = 'removed' })[reason]

if not counted then
  return bad_argument('reason')
end
if reason == 'OPERATOR' then
  local wrong = unsound_audit(audit, by)
  if wrong then
    return wrong
  end
end
if not all_pairs(FIRST_PAIR, { slot = true, ['line'] = true, both = true }) then
  return bad_argument('pairs')
end

-- ticket: of a user in line. A user who lost a slot has no ticket any more.
local function note_end(user, count, ticket)
  if count == 'expired' then
    happened(user, 'EXPIRED')
  elseif count == 'left' then
    happened(user, 'LEFT', ticket)
  else
    happened(user, 'REMOVED', ticket, 'OPERATOR')
  end
end

local function free_slot(user, left, count)
  end_session(user, left)
  done[count] = (done[count] or 0) + 1
  note_end(user, count)
  promote()
end

local function give_up(what, user)
  if lapse_if_over(user) then
    promote()
  end
  local left = session_left(user)
  if left and left > 0 then
    settle(user, left)
    if what == 'line' then
      return NOTHING
    end
    if may_free() then
      free_slot(user, left, counted)
    else
      hand_over(user, left)
      done[counted] = (done[counted] or 0) + 1
      note_end(user, counted)
    end
    return LEFT_SLOT
  end
  -- The place before the slot: otherwise a user whose session has expired could be promoted into that same slot.
  local ticket = what ~= 'slot' and leave_line(user)
  if ticket then
    forget_place(user)
    done[counted] = (done[counted] or 0) + 1
    note_end(user, counted, ticket)
    tell(reason, { { user, ticket } })
  end
  if left and may_free() then
    free_slot(user, left, 'expired')
  end
  return ticket and LEFT_LINE or NOTHING
end

-- The state of a user who has a place, for the audit.
local function state_before(user)
  if rule.opening and is_registered(user, (place_of(user))) then
    return 'REGISTERED'
  end
  return redis.call('ZSCORE', parked, user) and 'PARKED' or 'WAITING'
end

local answers = { false }
for at = FIRST_PAIR, #ARGV, 2 do
  local user = ARGV[at + 1]
  local in_line = reason == 'OPERATOR' and state_before(user)
  local left = give_up(ARGV[at], user)
  if reason == 'OPERATOR' and left ~= NOTHING then
    note_change({ audit, by, why }, 'remove', '', user, left == LEFT_SLOT and 'ALLOWED_IN' or in_line, 'NONE')
  end
  answers[#answers + 1] = left
end
promote()
keep_pace(false)
answers[1] = summary(false)
return answers
