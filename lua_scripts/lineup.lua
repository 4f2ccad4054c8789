-- lineup: each of these users lines up, first come first served. A parked user returns with the same ticket.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] lineups       hash, see includes/lineups.lua
-- KEYS[20] last_lineups  zset, likewise
-- KEYS[21] draw          hash, see gather.lua
-- KEYS[22…] invitations  one key per user, see includes/invitations.lua; none if all users are eligible
-- ARGV[5…] users         user ids, at most 256. With invitations three per user: user id, how often the invitation may be
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
--- @include summary
local lineups, last_lineups, draw = KEYS[19], KEYS[20], KEYS[21]
local log = { lineups, last_lineups }
local FIRST_INVITATION = 22
local FIRST_USER = 5

do
  local wrong = unsound_log(log)
  if wrong then
    return wrong
  end
end
if rule.opening or rule.prequeue > 0 then
  local wrong = wrong_type(draw, 'hash')
  if wrong then
    return wrong
  end
end

-- Tested before the first write. Free slots still go to the line: promoting needs no more memory than it frees.
local full = out_of_memory()
if not full then
  close_if_due()
end
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

-- Whether it matters when a user lines up.
local timed = rule.opening or rule.opens_at + rule.closes_at > 0

-- What the users' salts are made of; read once.
local salt_key

local function registered_answer()
  salt_key = salt_key or redis.call('HGET', draw, 'salt_key') or ''
  return registration(salt_key)
end

-- The number of a new registration. If the counter in Redis is no number, counting goes on behind all registrations.
local function next_registration()
  write('HDEL', settings, '')
  local number = redis.pcall('HINCRBY', settings, 'registrations', 1)
  if type(number) ~= 'table' then
    return number
  end
  local last = redis.call('ZREVRANGE', registered, 0, 0, 'WITHSCORES')
  number = as_ticket(math.floor(number_within(last[2], 0, SOUND_BELOW) or 0) + 1)
  write('HSET', settings, 'registrations', number)
  return number
end

local function register(user)
  if not rule.opening or rule.opening.phase ~= 'gathering' then
    return { UNPREPARED, 0, 0, waiting, 0 }
  end
  if full then
    return answer_refused(FULL)
  end
  local count = registered_count()
  if count >= MOST_REGISTERED or (rule.max_waiting > 0 and waiting + parked_count + count >= rule.max_waiting) then
    return answer_refused(ROOM_FULL)
  end
  write('ZADD', registered, next_registration(), user)
  done.registrations = done.registrations + 1
  happened(user, 'REGISTERED')
  return registered_answer()
end

-- till: the room takes no lineups before this moment (ms) in any case.
local function closed_answer(till)
  if rule.opens_at > till then
    return answer_closed(rule.opens_at, rule.prequeue > 0 and math.max(till, rule.opens_at - rule.prequeue) or nil)
  end
  return answer_closed(till > now and till or 0)
end

local function line_up(user)
  local wait = lineup_wait(log, user)
  if wait then
    -- The user is there all the same, and so is neither parked nor stays so.
    if come_back(user) then
      ticket = math.max(ticket, highest_ticket())
      promote()
    elseif redis.call('ZSCORE', line, user) then
      sighted(user)
    end
    return answer_refused(TOO_MANY_LINEUPS, wait)
  end
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
  if rule.sold_out then
    return answer_refused(SOLD_OUT)
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
  if rule.opening and is_registered(user, place) then
    return registered_answer()
  end
  if place and rule.keeps_place then
    sighted(user)
    return answer_waiting(as_ticket(place), position_of(user))
  end
  if rule.closed and not place then
    return rule.closed_until > 0 and closed_answer(rule.closed_until) or answer_closed(0)
  end
  if timed and not place then
    local way = entrance()
    if way == 'gather' then
      return register(user)
    end
    if way == 'closed' then
      return closed_answer(now)
    end
  end
  if full and not place then
    return answer_refused(FULL)
  end
  if place or paused or waiting > 0 or held >= capacity or admissions_left == 0 or tokens_left() == 0 then
    if not place and rule.max_waiting > 0 and waiting + unplaced() + parked_count >= rule.max_waiting then
      return answer_refused(ROOM_FULL)
    end
    return queue(user, place)
  end
  admissions_left = admissions_left - 1
  spend(1)
  begin_session(user)
  return answer_inside(ADMITTED, rule.whole_session)
end

-- Lines up, and counts the lineup unless it is refused.
local function line_up_and_note(user)
  local answer = line_up(user)
  if answer[1] <= ADMITTED or answer[1] == REGISTERED then
    note_lineup(log, user)
  end
  return answer
end

local answers = { false }
if KEYS[FIRST_INVITATION] then
  for at = FIRST_USER, #ARGV, 3 do
    local invitation = KEYS[FIRST_INVITATION + (at - FIRST_USER) / 3]
    local uses, expires = number_within(ARGV[at + 1], 0, EXACT), number_within(ARGV[at + 2], 0, EXACT)
    answers[#answers + 1] = line_up_by(invitation, uses or 0, expires or 0, ARGV[at], line_up_and_note)
  end
else
  lapse_overdue({ unpack(ARGV, FIRST_USER) })
  for at = FIRST_USER, #ARGV do
    answers[#answers + 1] = line_up_and_note(ARGV[at])
  end
end
keep_pace(false)
answers[1] = summary(false)
return answers
