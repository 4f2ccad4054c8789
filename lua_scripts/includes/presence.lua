-- At how many instances a user has open streams. Needs room.

local function one_more_instance(user)
  local count = number_within(redis.call('HGET', streams, user), 0, EXACT) or 0
  redis.call('HSET', streams, user, string.format('%.0f', math.floor(count) + 1))
  redis.call('ZREM', absent, user)
end

-- seen_ms: when the user was last seen there, which is the last sighting if no other instance has them.
local function one_instance_less(user, seen_ms)
  local count = number_within(redis.call('HGET', streams, user), 0, EXACT) or 0
  if count > 1 then
    redis.call('HSET', streams, user, string.format('%.0f', math.floor(count) - 1))
    return
  end
  redis.call('HDEL', streams, user)
  if redis.call('ZSCORE', line, user) then
    redis.call('ZADD', absent, seen_ms, user)
  end
end
