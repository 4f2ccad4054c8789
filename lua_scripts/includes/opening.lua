-- Registered users: gathered before the opening, without a place. Needs clock, room, lanes and place.
--
-- The pre-queue gathers from opens_at - prequeue on. A gateway begins it, see gather.lua. At opens_at the first call that
-- notices closes it, see includes/closing.lua. A gateway then computes the order, see rank.lua, and places the users in
-- bounded steps, see open.lua. From the close on no user is added to registered or removed from it, so that every
-- gateway finds the same order: who leaves is only marked, by a number that is not whole.
--
-- Registered users are in no key that older systems know. If an older system lines one of them up, the lower ticket
-- counts: before the close that of the older system, since tickets of registered users are above all others then.

-- Users that one pre-queue holds; a published draw has no more entries.
local MOST_REGISTERED = 2000000

--- @only if timed
-- What a lineup of a user without a place comes to: 'open': a place; 'gather': a registration; 'closed': nothing.
local function entrance()
  local opening = rule.opening
  if opening and opening.phase == 'gathering' then
    return 'gather'
  end
  if rule.opens_at > now and not (opening and (rule.under_way or opening.value == rule.opens_at)) then
    return rule.prequeue > 0 and now >= rule.opens_at - rule.prequeue and 'gather' or 'closed'
  end
  return rule.closes_at > rule.opens_at and now >= rule.closes_at and 'closed' or 'open'
end

local function write_opening()
  local opening = rule.opening
  write('HSET', settings, 'opening', string.format('%s %.0f %.0f %.0f %.0f %.0f',
    opening.phase, opening.value, opening.base, opening.size, opening.placed, opening.gone))
end

-- Whether this score in registered is that of a user who has not left.
local function is_present(number)
  return number and tonumber(number) % 1 == 0
end

-- How many users are registered and not in line yet.
local function registered_count()
  local opening = rule.opening
  return opening and opening.phase == 'gathering' and redis.call('ZCARD', registered) or unplaced()
end

-- The user is registered no longer. Returns whether the user was.
local function withdraw(user)
  local opening = rule.opening
  if not opening or opening.phase == 'open' then
    return false
  end
  local number = redis.call('ZSCORE', registered, user)
  if not is_present(number) then
    return false
  end
  if opening.phase == 'gathering' then
    redis.call('ZREM', registered, user)
    count_registered(user, -1)
  else
    local place = tonumber(place_of(user) or nil)
    write('ZADD', registered, 'XX', tonumber(number) + 0.5, user)
    if not (place and place > opening.base and place <= opening.base + opening.placed) then
      opening.gone = opening.gone + 1
      count_registered(user, -1)
      write_opening()
    end
  end
  return true
end

-- Whether the user, who is not allowed in, is registered. place: the user's ticket in line, if there is one. A lower
-- ticket of an older system ends the registration.
local function is_registered(user, place)
  local opening = rule.opening
  if not opening or opening.phase == 'open' or not is_present(redis.call('ZSCORE', registered, user)) then
    return false
  end
  if place and (opening.phase == 'gathering' or tonumber(place) <= opening.base) then
    withdraw(user)
    return false
  end
  return true
end

local function registration(user, salt_key)
  local opens_at = rule.opening.phase == 'gathering' and rule.opens_at or rule.opening.value
  return answer_registered(user, registered_count(), opens_at, salt_key)
end
--- @end
