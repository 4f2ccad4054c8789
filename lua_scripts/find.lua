-- find: where one user stands, for operators. The call is no sighting of the user, and changes nothing.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[5]  user  the user id
--
-- Returns  {summary, state, ticket, position, since, seen, history, lane}; state: NONE (also for an expired session), REGISTERED,
--          WAITING, PARKED or ALLOWED_IN. ticket as text and position: of a user in line; since: the epoch millisecond of the
--          admission, or of parking; seen: that of the last sighting, or of the last gated request; history: what happened
--          to the user, see includes/history.lua; lane: of a user in line, parked or registered. '' where unknown, and
--          without lanes
-- Publishes nothing.
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
--- @include claims
--- @include summary
local user = ARGV[5]

local function millisecond(key)
  local found = number_within(redis.call('ZSCORE', key, user), 0, EXACT)
  return found and string.format('%.0f', found) or ''
end

-- Until when the user should have claimed the slot, if that is over and no call has ended the session since.
local function lost_at(left)
  local by = claim_by(user)
  return by and by <= now and now + left >= by and by or nil
end

-- What becomes of a user who has lost the slot so, as lapse_if_over in includes/claims.lua does it.
local function unclaimed(at)
  local ticket = redis.call('ZSCORE', tickets, user)
  local _, lane = place_of(user)
  if not ticket or ticket == redis.call('ZSCORE', missed, user) or rule.hold_ms == 0 then
    return 'NONE', '', '', '', ''
  end
  return 'PARKED', as_ticket(ticket), '', string.format('%.0f', at), '', lane.name
end

local function whereabouts()
  local left = session_left(user)
  local lost = left and lost_at(left)
  if lost and not place_of(user) then
    return unclaimed(lost)
  end
  if left and left > 0 and not lost then
    return 'ALLOWED_IN', '', '', millisecond(since), millisecond(activity)
  end
  local ticket, lane = place_of(user)
  if rule.opening and is_present(redis.call('ZSCORE', registered, user))
    and not (ticket and (rule.opening.phase == 'gathering' or tonumber(ticket) <= rule.opening.base)) then
    return 'REGISTERED', '', '', '', '', lane.name
  end
  if ticket then
    return 'WAITING', as_ticket(ticket), position_in(lane, user), '', millisecond(absent), lane.name
  end
  ticket = redis.call('ZSCORE', parked, user) and redis.call('ZSCORE', tickets, user)
  if ticket then
    return 'PARKED', as_ticket(ticket), '', millisecond(parked), '', lane.name
  end
  return 'NONE', '', '', '', ''
end

local state, ticket, position, began, seen, lane = whereabouts()
return {
  summary(false), state, ticket, position, began, seen, redis.call('HGET', history, user) or '', lane or '',
}
