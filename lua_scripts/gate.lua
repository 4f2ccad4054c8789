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
local users = { unpack(ARGV, 5) }
local answers = { false }
estimates = false
if #users == 0 then
  answers[1] = summary(false)
  return answers
end

lapse_overdue(users)
local seconds = redis.call('HMGET', inside, unpack(users))
local indexed = redis.call('ZMSCORE', activity, unpack(users))
local places = redis.call('ZMSCORE', line, unpack(users))
local second = string.format('%.0f', math.floor(now / 1000))
local sessions, index = {}, {}
local windows, used = claiming() and redis.call('ZMSCORE', claims, unpack(users)) or nil, {}

-- Whether the user is allowed in now, after a return from parking: then what was read before holds no longer.
local function allowed_in_now(user)
  local left = session_left(user)
  return left and left > 0
end

-- A call of a promoted user passes, and so claims the slot. window: the user's score in claims. Returns -1 if this is one
-- of the first calls.
local function claim(user, window)
  if not window then
    return nil
  end
  local calls = used[user] or math.max(0, -tonumber(window))
  if calls > FIRST_CALLS then
    return nil
  end
  used[user] = calls + 1
  if calls == 0 then
    happened(user, 'CLAIMED')
  end
  if calls == FIRST_CALLS then
    close_window(user)
    return nil
  end
  write('ZADD', claims, -1 - calls, user)
  return -1
end

-- began: see began_at
local function renew(user, began, window)
  sessions[#sessions + 1] = user
  sessions[#sessions + 1] = second
  index[#index + 1] = now
  index[#index + 1] = user
  return answer_inside(ALLOWED_IN, remaining(now, began), claim(user, window))
end

local function refuse(user, place)
  if rule.sold_out then
    return answer_refused(SOLD_OUT)
  end
  if come_back(user) then
    promote()
  end
  if done.returns > 0 then
    if allowed_in_now(user) then
      return renew(user, began_at(user), windows and redis.call('ZSCORE', claims, user))
    end
    place = redis.call('ZSCORE', line, user)
  end
  if rule.opening and is_registered(user, place) then
    return registration()
  end
  if not place then
    return answer_none()
  end
  sighted(user)
  estimates = true
  return answer_waiting(as_ticket(place), position_of(user))
end

for at, user in ipairs(users) do
  local last = last_activity(user, seconds[at], indexed[at])
  local began = last and began_at(user)
  if last and remaining(last, began) > 0 then
    if places[at] then
      settle(user, remaining(now, began))
    end
    answers[#answers + 1] = renew(user, began, windows and windows[at])
  else
    answers[#answers + 1] = refuse(user, places[at])
  end
end
if #sessions > 0 then
  write('HSET', inside, unpack(sessions))
  write('ZADD', activity, unpack(index))
end
if done.returns > 0 or done.lapsed > 0 then
  keep_pace(false)
end
answers[1] = summary(false)
return answers
