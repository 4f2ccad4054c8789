-- Tickets given and tickets put right. Needs room.

-- 2^52, as Redis reads it in a range. A ticket from there on can't be counted on from exactly.
local SOUND_BELOW, UNSOUND = 4503599627370496, '4503599627370496'

-- The number a new ticket is to be above: the counter and every ticket in the line, so that a Redis that lost a
-- moment gives none out twice. Unsound tickets first become sound ones behind the others, in their order; there
-- are none unless another system gave them, so this is one look, but once it may be a long call.
local function highest_ticket()
  local top = redis.call('ZREVRANGEBYSCORE', line, '(' .. UNSOUND, '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  local highest = math.floor(math.max(
    number_within(redis.call('GET', counter), 0, SOUND_BELOW - 1) or 0,
    number_within(top[2], 0, SOUND_BELOW - 1) or 0
  ))
  local unsound = redis.call('ZRANGEBYSCORE', line, UNSOUND, '+inf')
  if #unsound > 0 then
    write('SET', counter, as_ticket(highest + #unsound))
  end
  for at, user in ipairs(unsound) do
    write('ZADD', line, as_ticket(highest + at), user)
  end
  return highest + #unsound
end
