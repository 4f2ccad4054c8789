-- find: where one user stands, for operators. The call is no sighting of the user, and changes nothing.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[5]  user  the user id
--
-- Returns  {summary, state, ticket, position, since, seen, history}; state: NONE (also for an expired session), REGISTERED,
--          WAITING, PARKED or ALLOWED_IN. ticket as text and position: of a user in line; since: the epoch millisecond of the
--          admission, or of parking; seen: that of the last sighting, or of the last gated request; history: what happened
--          to the user, see includes/history.lua. '' where unknown
-- Publishes nothing.
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
--- @include summary
local user = ARGV[5]

local function millisecond(key)
  local found = number_within(redis.call('ZSCORE', key, user), 0, EXACT)
  return found and string.format('%.0f', found) or ''
end

local function found()
  local left = session_left(user)
  if left and left > 0 then
    return 'ALLOWED_IN', '', '', millisecond(since), millisecond(activity)
  end
  local ticket, position = redis.call('ZSCORE', line, user), position_of(user)
  if rule.opening and counts(redis.call('ZSCORE', registered, user))
    and not (ticket and (rule.opening.phase == 'gathering' or tonumber(ticket) <= rule.opening.base)) then
    return 'REGISTERED', '', '', '', ''
  end
  if ticket then
    return 'WAITING', as_ticket(ticket), position, '', millisecond(absent)
  end
  ticket = redis.call('ZSCORE', parked, user) and redis.call('ZSCORE', tickets, user)
  if ticket then
    return 'PARKED', as_ticket(ticket), '', millisecond(parked), ''
  end
  return 'NONE', '', '', '', ''
end

local state, ticket, position, began, seen = found()
return { summary(false), state, ticket, position, began, seen, redis.call('HGET', history, user) or '' }
