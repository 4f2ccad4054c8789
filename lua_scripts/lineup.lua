-- lineup: each of these users lines up, first come first served. A parked user returns with the same ticket.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[5]  relineup  a user who waits lines up again: 'back': a new ticket at the end; 'keep': the place stays
-- ARGV[6…] users     user ids, at most 256
--
-- Returns  {summary (includes/summary.lua), answer per user (includes/place.lua)…}; codes:
--          ADMITTED (a slot is free and it is the user's turn), ALLOWED_IN (already; not renewed), WAITING,
--          FULL (Redis is at maxmemory and the user has no place yet: nothing was changed for this user)
-- Publishes UNCLAIMED for each user removed for a slot not claimed in time, ADMITTED for each user promoted
--           from the line. A user admitted at once has no ticket and no stream.
--
--- @include clock
--- @include room
--- @include rate
--- @include history
--- @include tickets
--- @include place
--- @include parking
--- @include session
--- @include promote
--- @include claims
--- @include summary
local relineup = ARGV[5]
local FIRST_USER = 6

if relineup ~= 'back' and relineup ~= 'keep' then
  return bad_argument('relineup')
end

-- Tested before the first write. Free slots still go to the line: promoting needs no more memory than it frees.
local full = out_of_memory()
promote()
local ticket = highest_ticket()

local function queue(user, place)
  ticket = ticket + 1
  write('SET', counter, as_ticket(ticket))
  write('ZADD', line, as_ticket(ticket), user)
  if not place then
    waiting = waiting + 1
  end
  if place then
    forget_missed(user)
  end
  done.lineups = done.lineups + 1
  happened(user, place and 'MOVED' or 'JOINED', ticket)
  sighted(user)
  return answer_waiting(ticket, waiting)
end

local function line_up(user)
  local left = session_left(user)
  if left and left <= 0 and may_free() then
    end_session(user, left)
    done.expired = done.expired + 1
    happened(user, 'EXPIRED')
    promote()
    left = session_left(user)
    if left then
      return answer_inside(ADMITTED, left, claim_by(user))
    end
  end
  if left and left > 0 then
    settle(user, left)
    return answer_inside(ALLOWED_IN, left, claim_by(user))
  end
  if come_back(user) then
    ticket = math.max(ticket, highest_ticket())
    promote()
    left = session_left(user)
    if left then
      return answer_inside(ADMITTED, left, claim_by(user))
    end
    return answer_waiting(as_ticket(redis.call('ZSCORE', line, user)), position_of(user))
  end
  local place = redis.call('ZSCORE', line, user)
  if place and relineup == 'keep' then
    sighted(user)
    return answer_waiting(as_ticket(place), position_of(user))
  end
  if full and not place then
    return answer_full()
  end
  if place or paused or waiting > 0 or held >= capacity or admissions_left == 0 or tokens_left() == 0 then
    return queue(user, place)
  end
  admissions_left = admissions_left - 1
  spend(1)
  begin_session(user)
  return answer_inside(ADMITTED, rule.whole_session)
end

lapse_overdue({ unpack(ARGV, FIRST_USER) })
local answers = { false }
for at = FIRST_USER, #ARGV do
  answers[#answers + 1] = line_up(ARGV[at])
end
keep_pace(false)
answers[1] = summary(false)
return answers
