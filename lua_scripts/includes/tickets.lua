-- Gives tickets and repairs unusable ones. Needs room and lanes. Tickets of users whom operators put in front are negative,
-- see front.lua.

-- 2^52, also in the form that Redis reads in a range. From this ticket on, counting is not exact.
local SOUND_BELOW, UNSOUND = 4503599627370496, '4503599627370496'

-- The number that a new ticket must exceed: the highest of the counter and of all tickets, be they in the line, of parked
-- users, or of users who have yet to claim a slot. So a Redis that lost its last writes gives no ticket twice. Unsound
-- tickets are first replaced by sound ones behind the others, in their order. Only another system gives unsound tickets,
-- so normally nothing is written, but the first call may take long.
local function highest_ticket()
  local top, unsound = redis.call('ZREVRANGE', line, '0', '0', 'WITHSCORES'), nil
  if top[2] and tonumber(top[2]) >= SOUND_BELOW then
    top = redis.call('ZREVRANGEBYSCORE', line, '(' .. UNSOUND, '-inf', 'WITHSCORES', 'LIMIT', '0', '1')
    unsound = redis.call('ZRANGEBYSCORE', line, UNSOUND, '+inf')
  end
  local highest = math.floor(math.max(
    number_within(last_given, 0, SOUND_BELOW - 1) or 0,
    number_within(top[2], 0, SOUND_BELOW - 1) or 0
  ))
  if parked_count > 0 or rule.claim_ms > 0 then
    local kept = redis.call('ZREVRANGE', tickets, '0', '0', 'WITHSCORES')
    if kept[2] and tonumber(kept[2]) >= SOUND_BELOW then
      kept = redis.call('ZREVRANGEBYSCORE', tickets, '(' .. UNSOUND, '-inf', 'WITHSCORES', 'LIMIT', '0', '1')
    end
    highest = math.floor(math.max(highest, number_within(kept[2], 0, SOUND_BELOW - 1) or 0))
  end
  for nth = 1, lanes and #lanes - 1 or 0 do
    local last = redis.call('ZREVRANGE', lanes[nth].key, '0', '0', 'WITHSCORES')
    highest = math.floor(math.max(highest, number_within(last[2], 0, SOUND_BELOW - 1) or 0))
  end
  if not unsound then
    return highest
  end
  last_given = as_ticket(highest + #unsound)
  write('SET', counter, last_given)
  for at, user in ipairs(unsound) do
    write('ZADD', line, as_ticket(highest + at), user)
  end
  return highest + #unsound
end
