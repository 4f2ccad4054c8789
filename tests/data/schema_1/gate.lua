-- gate: each of these users makes a gated request. Renews the sessions of users who are allowed in.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[4…] users  user ids, at most 256; an id may occur several times
--
-- Returns  {summary, answer per user…}; codes: ALLOWED_IN (renewed), WAITING (a sighting), NONE
-- Publishes ADMITTED for each user who was in both line and hash.
--
-- The hot path: the number of commands does not depend on how many users are allowed in. A user whose session has
-- expired is refused here; the sweep removes the session.
--
--- @include clock
--- @include room
--- @include session
--- @include place
--- @include summary
local users = { unpack(ARGV, 4) }
local answers = { false }
estimates = false
if #users == 0 then
  answers[1] = summary(false)
  return answers
end

local seconds = redis.call('HMGET', inside, unpack(users))
local indexed = redis.call('ZMSCORE', activity, unpack(users))
local tickets = redis.call('ZMSCORE', line, unpack(users))
local second = string.format('%.0f', math.floor(now / 1000))
local sessions, index = {}, {}

local function refuse(user, ticket)
  if not ticket then
    return answer_none()
  end
  sighted(user)
  estimates = true
  return answer_waiting(as_ticket(ticket), position_of(user))
end

for at, user in ipairs(users) do
  local last = last_activity(user, seconds[at], indexed[at])
  if last and remaining(last) > 0 then
    if tickets[at] then
      settle(user, duration)
    end
    sessions[#sessions + 1] = user
    sessions[#sessions + 1] = second
    index[#index + 1] = now
    index[#index + 1] = user
    answers[#answers + 1] = answer_inside(ALLOWED_IN, duration)
  else
    answers[#answers + 1] = refuse(user, tickets[at])
  end
end
if #sessions > 0 then
  write('HSET', inside, unpack(sessions))
  write('ZADD', activity, unpack(index))
end
answers[1] = summary(false)
return answers
