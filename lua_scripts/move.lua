-- move: one user's place or slot becomes another's, with the same ticket: a visitor has signed in, or goes on at another
-- device. If both have one, the better of the two stays: a slot before a place, and of two places the lower ticket.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] draw  hash, see gather.lua
-- ARGV[5]  from  the user who gives it; has nothing afterwards
-- ARGV[6]  to    the user who gets it
--
-- Returns  {summary, code, answer of to as status.lua gives it}; a registered user's has what the user's salt is made of if
--          there is a draw. A session is not renewed; codes: NOTHING (from had neither place nor slot), MOVED, LATER (from
--          is registered, and the opening is under way; nothing was changed)
-- Publishes UNCLAIMED for a user removed for a slot not claimed in time, MOVED for from in line or registered, ADMITTED for to in line
--           who gets a slot, and for each user promoted.
--
-- Both count as seen, so parked ones return first. A slot keeps its session and its claim window as they are. From the
-- close of a pre-queue on its entries can't change hands, and until the room is open their users keep the places that
-- they are given.
--
--- @all
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
--- @include summary
local draw, from, to = KEYS[19], ARGV[5], ARGV[6]
local NOTHING, MOVED, LATER = 0, 1, 2

do
  local wrong = wrong_type_of_kept(true) or rule.opening and wrong_type(draw, 'HLEN')
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
    done.expired = (done.expired or 0) + 1
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
  sessions_changed = true
  local lane = lane_of(from)
  settle(to, session_left(to))
  if lanes then
    leave_lane(from)
    assign_lane(to, lane.name)
  end
  happened(to, 'MOVED', nil, 'TRANSFER')
end

-- ticket: of from, as text.
local function move_place(ticket)
  local own, lane = place_of(to), lane_of(from)
  if rule.opening then
    withdraw(to)
  end
  take_out(from)
  leave_lane(from)
  redis.call('ZREM', absent, from)
  if own and tonumber(own) < tonumber(ticket) then
    redis.call('ZREM', missed, from)
    return
  end
  take_out(to)
  put_in_lane(lanes and assign_lane(to, lane.name) or whole, to, as_ticket(ticket))
  move_entry(missed)
  happened(to, 'MOVED', ticket, 'TRANSFER')
end

-- A registration becomes the other user's, with its number. Of two registrations the earlier one stays.
local function move_registration(slot_of_to)
  if not rule.opening or rule.opening.phase ~= 'gathering' or not is_registered(from) then
    return false
  end
  local place, lane = place_of(to), lane_of(from)
  local own = is_registered(to, place) and redis.call('ZSCORE', registered, to)
  if slot_of_to or place or own and tonumber(own) < tonumber(redis.call('ZSCORE', registered, from)) then
    withdraw(from)
    leave_lane(from)
  else
    if own then
      count_registered(to, -1)
    end
    move_entry(registered)
    leave_lane(from)
    if lanes then
      assign_lane(to, lane.name)
    end
  end
  tell('MOVED', { { from, '0' } })
  return true
end

-- Whether to is to be put in line by the opening, ahead of a user with this ticket.
local function has_better_registration(ticket)
  return rule.under_way and tonumber(ticket) > rule.opening.base and is_registered(to, (place_of(to)))
end

local function count_move()
  if type(redis.pcall('HINCRBY', tally, 'moved', 1)) == 'table' then
    write('HSET', tally, 'moved', 1)
  end
end

local function move()
  local slot, ticket = live(from), place_of(from)
  if rule.under_way and not slot and is_registered(from, ticket) then
    return LATER
  end
  local slot_of_to = session_left(to)
  if slot_of_to and slot_of_to <= 0 then
    -- While an older system is followed, it still has to give this slot to the next user.
    return NOTHING
  end
  if slot and slot_of_to then
    if may_free() then
      end_session(from, slot)
      promote()
    else
      hand_over(from, slot)
    end
    done.left = (done.left or 0) + 1
  elseif slot then
    move_slot()
  elseif ticket then
    if slot_of_to or has_better_registration(ticket) then
      leave_line(from)
      redis.call('ZREM', missed, from)
      leave_lane(from)
    else
      move_place(ticket)
    end
    tell('MOVED', { { from, as_ticket(ticket) } })
  elseif not move_registration(slot_of_to) then
    return NOTHING
  end
  happened(from, 'LEFT', not slot and ticket or nil, 'TRANSFER')
  count_move()
  return MOVED
end

local function answer()
  local left = live(to)
  if left then
    return answer_inside(ALLOWED_IN, left, claim_by(to))
  end
  local ticket, lane = place_of(to)
  if rule.opening and is_registered(to, ticket) then
    return registration(to, redis.call('HGET', draw, 'salt_key') or '')
  end
  if not ticket then
    return answer_none()
  end
  sighted(to)
  return answer_waiting(lane, ticket, position_in(lane, to))
end

bring_up_to_date(from)
bring_up_to_date(to)
local code = move()
local answered = answer()
keep_pace(false)
return { summary(false), code, answered }
