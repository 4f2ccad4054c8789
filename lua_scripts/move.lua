-- move: one user's place or slot becomes another's, with the same ticket: a visitor has signed in, or goes on at another
-- device. If both have one, the better of the two stays: a slot before a place, and of two places the lower ticket.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[5]  from  the user who gives it; has nothing afterwards
-- ARGV[6]  to    the user who gets it
--
-- Returns  {summary, whether from had a place or slot 0/1, answer of to (includes/place.lua)}; codes: ALLOWED_IN (not
--          renewed), WAITING, REGISTERED, NONE (neither of them has anything)
-- Publishes UNCLAIMED for a user removed for a slot not claimed in time, MOVED for from in line or registered, ADMITTED for to in line
--           who gets a slot, and for each user promoted.
--
-- Both count as seen, so parked ones return first. A slot keeps its session and its claim window as they are.
--
--- @include clock
--- @include room
--- @include rate
--- @include history
--- @include tickets
--- @include place
--- @include opening
--- @include parking
--- @include session
--- @include promote
--- @include claims
--- @include summary
local from, to = ARGV[5], ARGV[6]

do
  local wrong = wrong_type_of_kept()
  if wrong then
    return wrong
  end
  if from == to then
    return bad_argument('from, to')
  end
end

-- Ends what is over, and brings back a parked user. Another user may be admitted by that.
local function bring_up_to_date(user)
  if lapse_if_over(user) then
    promote()
  end
  local left = session_left(user)
  if left and left <= 0 and may_free() then
    end_session(user, left)
    done.expired = done.expired + 1
    happened(user, 'EXPIRED')
    promote()
  end
  left = session_left(user)
  if left and left > 0 then
    settle(user, left)
  elseif come_back(user) then
    promote()
  end
end

-- Milliseconds left of a session that is not over; else nil.
local function live(user)
  local left = session_left(user)
  return left and left > 0 and left or nil
end

-- Moves a user's entry of a sorted set; an entry of the other user is replaced.
local function move_entry(key)
  local score = redis.call('ZSCORE', key, from)
  redis.call('ZREM', key, to)
  if score then
    redis.call('ZREM', key, from)
    write('ZADD', key, score, to)
  end
end

local function move_slot()
  write('HSET', inside, to, redis.call('HGET', inside, from))
  redis.call('HDEL', inside, from)
  for _, key in ipairs({ activity, since, claims, tickets, missed }) do
    move_entry(key)
  end
  settle(to, session_left(to))
  happened(to, 'MOVED', nil, 'TRANSFER')
end

-- ticket: of from, as text.
local function move_place(ticket)
  local own = redis.call('ZSCORE', line, to)
  redis.call('ZREM', line, from)
  redis.call('ZREM', absent, from)
  if own then
    waiting = waiting - 1
  end
  if own and tonumber(own) < tonumber(ticket) then
    redis.call('ZREM', missed, from)
    return
  end
  write('ZADD', line, as_ticket(ticket), to)
  move_entry(missed)
  happened(to, 'MOVED', ticket, 'TRANSFER')
end

-- A registration becomes the other user's until the close, with its number. From then on entries can't change hands.
local function move_registration()
  if not rule.opening or rule.opening.phase ~= 'gathering' or not is_registered(from) then
    return false
  end
  local place = redis.call('ZSCORE', line, to)
  if place or is_registered(to, place) then
    withdraw(from)
  else
    move_entry(registered)
  end
  tell('MOVED', { { from, '0' } })
  return true
end

local function count()
  if type(redis.pcall('HINCRBY', tally, 'moved', 1)) == 'table' then
    write('HSET', tally, 'moved', 1)
  end
end

-- Returns whether from had anything.
local function move()
  local slot, ticket = live(from), redis.call('ZSCORE', line, from)
  local slot_of_to = session_left(to)
  if slot_of_to and slot_of_to <= 0 then
    -- While an older system is followed, it still has to give this slot to the next user.
    return false
  end
  if slot and slot_of_to then
    if may_free() then
      end_session(from, slot)
      promote()
    else
      hand_over(from, slot)
    end
    done.left = done.left + 1
  elseif slot then
    move_slot()
  elseif ticket then
    if slot_of_to then
      leave_line(from)
      redis.call('ZREM', missed, from)
    else
      move_place(ticket)
    end
    tell('MOVED', { { from, as_ticket(ticket) } })
  elseif slot_of_to or not move_registration() then
    return false
  end
  happened(from, 'LEFT', not slot and ticket or nil, 'TRANSFER')
  count()
  return true
end

local function answer()
  local left = live(to)
  if left then
    return answer_inside(ALLOWED_IN, left, claim_by(to))
  end
  local ticket = redis.call('ZSCORE', line, to)
  if rule.opening and is_registered(to, ticket) then
    return registration()
  end
  if not ticket then
    return answer_none()
  end
  sighted(to)
  return answer_waiting(as_ticket(ticket), position_of(to))
end

bring_up_to_date(from)
bring_up_to_date(to)
local moved = move()
local answered = answer()
keep_pace(false)
return { summary(false), moved and 1 or 0, answered }
