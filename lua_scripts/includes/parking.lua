-- Parked users: in line, but absent. They keep their tickets, and are in none of the keys that older systems know. Needs
-- clock, room, lanes, history, tickets and place.
--
-- An older system, or an instance of an earlier version, may line a parked user up again, or admit that user. Then the
-- user is in two keys until a call or the sweep finds it: a session wins over both, and of two tickets the lower counts.

--- @only if parked_count > 0 or rule.claim_ms > 0
-- Looks up the users in ARGV, from index first on, with one command in place of one for each user. The table
-- rule.not_parked then holds the users who are not parked, until park removes a user from it.
local function look_up_parked(first)
  if parked_count == 0 then
    return
  end
  rule.not_parked = { user = nil }
  for at, moment in ipairs(redis.call('ZMSCORE', parked, unpack(ARGV, first))) do
    rule.not_parked[ARGV[first + at - 1]] = not moment
  end
end

-- Takes a ticket out of the keys of parked users. Returns it as a number; nil if the user is not parked, or if the
-- ticket is unusable.
local function unpark(user)
  if parked_count == 0 or rule.not_parked and rule.not_parked[user] or redis.call('ZREM', parked, user) == 0 then
    return nil
  end
  parked_count = parked_count - 1
  local ticket = number_within(redis.call('ZSCORE', tickets, user), 1 - SOUND_BELOW, SOUND_BELOW - 1)
  redis.call('ZREM', tickets, user)
  return ticket
end

-- Parks a user who has just been taken out of the line. ticket: as text. why: as in includes/history.lua.
local function park(user, ticket, why)
  if rule.claim_ms > 0 then
    redis.call('ZREM', claims, user)
  end
  if rule.not_parked then
    rule.not_parked[user] = nil
  end
  write('ZADD', parked, now, user)
  write('ZADD', tickets, ticket, user)
  parked_count = parked_count + 1
  done.parkings = (done.parkings or 0) + 1
  happened(user, 'PARKED', ticket, why)
end

-- A user who was parked is back in line with this ticket; nil: it was unusable, and is replaced by one at the end.
local function return_to_line(user, ticket)
  local place, lane = place_of(user)
  if not ticket then
    ticket = place and tonumber(place) or highest_ticket() + 1
    last_given = as_ticket(math.max(ticket, highest_ticket()))
    write('SET', counter, last_given)
  end
  if place then
    ticket = math.min(ticket, tonumber(place))
  end
  put_in_lane(lane, user, as_ticket(ticket))
  sighted(user)
  done.returns = (done.returns or 0) + 1
  happened(user, 'RETURNED', ticket)
end

-- A parked user is seen, and is back in line with the same ticket. Returns whether the user was parked; if so, the
-- caller calls promote, since it may be the user's turn.
local function come_back(user)
  local before = parked_count
  local ticket = unpark(user)
  if parked_count == before then
    return false
  end
  return_to_line(user, ticket)
  return true
end
--- @end
