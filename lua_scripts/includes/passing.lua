-- The gate: users who are allowed in pass, and their sessions are renewed. Parked users are back in line. Needs clock, room,
-- lanes, history, place, opening, parking, session, promote, claims and summary.
--
-- The script names three locals before: FIRST_USER, where users begin in ARGV; users, a list of user ids, in which an id
-- may occur several times; and arrive, a function that returns the answer for a user who has neither slot nor place nor
-- registration, given the user and which of the users it is, or nil if such users are turned away. This file leaves the
-- list answers, whose first element is to be the summary.

local answers = { false }
estimates = false
if #users == 0 then
  answers[1] = summary(false)
  return answers
end

local windows = lapse_overdue(FIRST_USER)
local seconds = redis.call('HMGET', inside, unpack(users))
local indexed = redis.call('ZMSCORE', activity, unpack(users))
local places = places_of(users)
local second = string.format('%.0f', math.floor(now / 1000))
local sessions, index = {}, {}
if claiming() and (not windows or #windows ~= #users) then
  windows = redis.call('ZMSCORE', claims, unpack(users))
end

-- How many calls of each user have claimed a slot, as far as this call knows.
local used = {}

-- Whether a user of this call was lined up.
local lined_up = false

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

-- at: which of the users
local function refuse(user, place, at)
  if rule.sold_out then
    return answer_refused(SOLD_OUT)
  end
  if come_back(user) then
    promote()
    -- What was read before holds no longer.
    local left = session_left(user)
    if left and left > 0 then
      return renew(user, began_at(user), windows and redis.call('ZSCORE', claims, user))
    end
    place = place_of(user)
  end
  if rule.opening and is_registered(user, place) then
    return registration(user)
  end
  if not place then
    if not arrive then
      return answer_none()
    end
    lined_up, estimates = true, true
    return arrive(user, at)
  end
  sighted(user)
  estimates = true
  local lane = lane_of(user)
  return answer_waiting(lane, as_ticket(place), position_in(lane, user))
end

for at, user in ipairs(users) do
  if (done.returns or 0) > 0 or lined_up then
    -- That may have changed what is known of this user, too.
    seconds[at], indexed[at] = redis.call('HGET', inside, user), redis.call('ZSCORE', activity, user)
    places[at] = place_of(user)
    if windows then
      windows[at] = redis.call('ZSCORE', claims, user)
    end
  end
  local last = last_activity(user, seconds[at], indexed[at])
  local began = last and began_at(user)
  if last and remaining(last, began) > 0 then
    if places[at] then
      settle(user, remaining(now, began))
    end
    answers[#answers + 1] = renew(user, began, windows and windows[at])
  else
    answers[#answers + 1] = refuse(user, places[at], at)
  end
end
if #sessions > 0 then
  write('HSET', inside, unpack(sessions))
  write('ZADD', activity, unpack(index))
end
if (done.returns or 0) > 0 or (done.lapsed or 0) > 0 or lined_up then
  keep_pace(false)
end
