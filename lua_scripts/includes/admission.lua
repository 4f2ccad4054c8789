-- Lining up: a slot at once, a place at the end of the line, or a registration. Needs clock, room, lanes, rate, history,
-- tickets, place, opening, closing, parking, session, promote, claims and lineups.
--
-- The script names two keys before: log, see includes/lineups.lua, and draw, see gather.lua. It calls begin_lineups before
-- the first lineup.

do
  local wrong = unsound_log(log)
  if wrong then
    return wrong
  end
end
if rule.opening or rule.prequeue > 0 then
  local wrong = wrong_type(draw, 'HLEN')
  if wrong then
    return wrong
  end
end

-- Tested before the first write. Free slots still go to the line: promoting needs no more memory than it frees.
local full = out_of_memory()

-- The last ticket given; nil before the first lineup of a call.
local ticket

-- Looks up the users in ARGV, from index first on, with two commands in place of two for each user. The table
-- rule.newcomers then holds the users who have neither a session nor a place in line. No other user of the call can give
-- such a user a session or a place, because only users in line are promoted. A local in place of the field would cost each
-- call some 700 instructions.
local function look_up_newcomers(first)
  local users, found = { unpack(ARGV, first) }, { user = nil }
  local sessions, places = redis.call('HMGET', inside, unpack(users)), places_of(users)
  for at, user in ipairs(users) do
    found[user] = not sessions[at] and not places[at]
  end
  rule.newcomers, rule.joined = found, {}
end

-- The lane of a user who gets a new ticket or registration.
local function new_lane(user)
  return lanes and assign_lane(user, lanes.wanted[user]) or whole
end

-- Called before the first lineup of a call. wanted: the lanes that users want, one name for each of the users in ARGV, from
-- index first on. step: how many arguments there are of each user. Returns an error reply if the lanes can't be read.
local function begin_lineups(wanted, first, step)
  if lanes then
    local unknown, names = {}, string.gmatch(wanted, '%S+')
    lanes.wanted = { user = nil }
    for at = first, #ARGV, step do
      local user = ARGV[at]
      lanes.wanted[user] = names()
      if not lanes.known[user] then
        unknown[#unknown + 1] = user
      end
    end
    local wrong = #unknown > 0 and look_up_lanes(unpack(unknown))
    if wrong then
      return wrong
    end
  end
  if not full then
    close_if_due()
  end
  promote()
  ticket = highest_ticket()
  return nil
end

local function queue(user, place)
  ticket = ticket + 1
  last_given = string.format('%.0f', ticket)
  if place then
    forget_missed(user)
    if lanes then
      take_out(user)
    end
  end
  local lane = new_lane(user)
  put_in_lane(lane, user, last_given)
  done.lineups = (done.lineups or 0) + 1
  happened(user, place and 'MOVED' or 'JOINED', ticket)
  if rule.newcomers then
    rule.joined[#rule.joined + 1], rule.joined[#rule.joined + 2] = now, user
  else
    sighted(user)
  end
  return answer_waiting(lane, ticket, lane.size)
end

-- Called once at the end of a script: writes the counter if queue has given tickets.
local function keep_counter()
  if done.lineups then
    write('SET', counter, last_given)
    keep_joined()
  end
end

--- @only if timed
-- What the users' salts are made of; read once.
local salt_key

local function registered_answer(user)
  salt_key = salt_key or redis.call('HGET', draw, 'salt_key') or ''
  return registration(user, salt_key)
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
  new_lane(user)
  count_registered(user, 1)
  done.registrations = (done.registrations or 0) + 1
  happened(user, 'REGISTERED')
  return registered_answer(user)
end
--- @end

--- @only if timed or rule.closed
-- till: the room takes no lineups before this moment (ms) in any case.
local function closed_answer(till)
  if rule.opens_at > till then
    return answer_closed(rule.opens_at, rule.prequeue > 0 and math.max(till, rule.opens_at - rule.prequeue) or nil)
  end
  return answer_closed(till > now and till or 0)
end
--- @end

local function line_up(user)
  local new = rule.newcomers and rule.newcomers[user]
  if new then
    rule.newcomers[user] = nil
  end
  local wait = lineup_wait(log, user)
  if wait then
    -- The user is there all the same, and so is neither parked nor stays so.
    if come_back(user) then
      ticket = math.max(ticket, highest_ticket())
      promote()
    elseif place_of(user) then
      sighted(user)
    end
    return answer_refused(TOO_MANY_LINEUPS, wait)
  end
  local left = not new and session_left(user)
  if left and left <= 0 and may_free() then
    end_session(user, left)
    done.expired = (done.expired or 0) + 1
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
    local kept, lane = place_of(user)
    return answer_waiting(lane, as_ticket(kept), position_in(lane, user))
  end
  local place, lane
  if not new then
    place, lane = place_of(user)
  end
  if rule.opening and is_registered(user, place) then
    return registered_answer(user)
  end
  if place and rule.keeps_place then
    sighted(user)
    return answer_waiting(lane, as_ticket(place), position_in(lane, user))
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
    if not place and rule.max_waiting > 0 and waiting + (unplaced() or 0) + parked_count >= rule.max_waiting then
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
