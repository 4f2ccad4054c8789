-- front: an operator puts a user in line in front of all others, with lanes of all others in the same lane. A parked user
-- stays parked, and is the first on return.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] audit  stream, see includes/audit.lua
-- ARGV[5]  user   the user id
-- ARGV[6]  by     the operator's name
-- ARGV[7]  why    the operator's reason, or ''
--
-- Returns  {summary, ticket}; ticket: the user's now, as text; '' if the user has no place in line: then nothing was changed
-- Publishes UNCLAIMED if the user is removed for a slot not claimed in time, FRONT for the user, ADMITTED for each user
--           promoted.
--
-- The new ticket is negative, below every other of all lanes and below all that were given so: it is never given twice, and
-- never 0, which stands for no ticket.
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
--- @include audit
--- @include summary
local audit, user, by, why = KEYS[19], ARGV[5], ARGV[6], ARGV[7]

do
  local wrong = unsound_audit(audit, by) or wrong_type_of_kept(true)
  if wrong then
    return wrong
  end
end

-- The lowest ticket in this key, in line or parked; nil if there is none.
local function lowest(key)
  local first = redis.call('ZRANGEBYSCORE', key, '(-' .. UNSOUND, '(' .. UNSOUND, 'WITHSCORES', 'LIMIT', 0, 1)
  return tonumber(first[2] or nil)
end

-- Whether another user of the lane keeps a lower ticket, who is parked or has yet to claim a slot. So many lower tickets that
-- not all can be looked at count as one: a ticket below them is right in any case.
local function is_behind_absent(lane, own)
  local lower = redis.call(
    'ZRANGEBYSCORE', tickets, '(-' .. UNSOUND, '(' .. as_ticket(own), 'LIMIT', 0, MOST)
  if not lanes or #lower == 0 or #lower == MOST then
    return #lower > 0
  end
  look_up_lanes(unpack(lower))
  for _, other in ipairs(lower) do
    if lane_of(other) == lane then
      return true
    end
  end
  return false
end

if lapse_if_over(user) then
  promote()
end
local left = session_left(user)
if left and left > 0 then
  settle(user, left)
end
local place, lane = place_of(user)
local away = not place and redis.call('ZSCORE', parked, user)
if (left and left > 0) or not (place or away) or (rule.opening and is_registered(user, place)) then
  return { summary(false), '' }
end

highest_ticket()
local own = tonumber(redis.call('ZSCORE', place and lane.key or tickets, user) or nil)
local ticket, sound = own, number_within(own, 1 - SOUND_BELOW, SOUND_BELOW - 1)
local head = lowest(lane.key) or EXACT
-- Only an older system gives a ticket twice.
if not sound or own > head or place and redis.call('ZRANK', lane.key, user) > 0 or is_behind_absent(lane, own) then
  write('HDEL', settings, '')
  local count = redis.pcall('HINCRBY', tally, 'fronted', 1)
  if type(count) == 'table' then
    count = 1
    write('HSET', tally, 'fronted', count)
  end
  head = math.min(head, lowest(tickets) or EXACT)
  for nth = 1, lanes and #lanes or 0 do
    head = math.min(head, lowest(lanes[nth].key) or EXACT)
  end
  ticket = math.min(math.floor(head) - 1, -count)
  write('ZADD', place and lane.key or tickets, as_ticket(ticket), user)
  forget_missed(user)
  happened(user, 'FRONT', ticket)
  tell('FRONT', { { user, as_ticket(ticket) } })
end
note_change({ audit, by, why }, 'front', '', user, own and as_ticket(own) or '', as_ticket(ticket))
promote()
keep_pace(false)
return { summary(false), as_ticket(ticket) }
