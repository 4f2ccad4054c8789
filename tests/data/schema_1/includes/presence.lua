-- The number of instances at which a user has open streams. Needs room and place.

local function instances_of(user)
  return math.floor(number_within(redis.call('HGET', streams, user), 0, EXACT) or 0)
end

local function one_more_instance(user)
  write('HSET', streams, user, string.format('%.0f', instances_of(user) + 1))
  seen_in_line(user, now)
end

-- seen_ms: when the user was last seen at that instance.
local function one_instance_less(user, seen_ms)
  local count = instances_of(user)
  if count > 1 then
    write('HSET', streams, user, string.format('%.0f', count - 1))
  else
    redis.call('HDEL', streams, user)
  end
  seen_in_line(user, seen_ms)
end
