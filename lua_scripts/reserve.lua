-- reserve: whether a visitor who lines up may have a place, as far as the other visitors at the same address are
-- concerned.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] neighbours  zset: visitor -> epoch millisecond of the last lineup, of visitors who lined up from one address
-- ARGV[5]  visitor     who lines up
-- ARGV[6]  most        visitors of this address who may have a place or a slot at a time; 0: no bound
--
-- Returns  {summary, code}; codes: REFUSED (there are as many already), FREE (the visitor may line up), HELD (the visitor
--          has a place or slot already, so this lineup takes no further one)
-- Publishes nothing.
--
-- Parked and registered visitors have a place. A lineup comes right after this call. So a visitor without a place counts
-- for RESERVED_MS, and two lineups at a time can't both take the last place. The key expires when no visitor has lined up
-- from the address for a long time.
--
--- @include clock
--- @include room
--- @include rate
--- @include history
--- @include place
--- @include opening
--- @include summary
local neighbours = KEYS[19]
local visitor, most = ARGV[5], limit(ARGV[6], 0)
local REFUSED, FREE, HELD = 0, 1, 2
local RESERVED_MS = 10000
local KEPT_MS = 172800000
estimates = false

do
  local wrong = wrong_type(neighbours, 'zset')
  if wrong then
    return wrong
  end
  if not most then
    return bad_argument('most')
  end
end

local function has_place(user)
  local place = redis.call('ZSCORE', line, user)
  return place or redis.call('HEXISTS', inside, user) == 1 or redis.call('ZSCORE', parked, user)
    or (rule.opening and is_registered(user, place)) or false
end

-- How many others at the address have a place, or are about to. Forgets those who have none.
local function others()
  local known, count = redis.call('ZRANGE', neighbours, 0, -1, 'WITHSCORES'), 0
  for at = 1, #known, 2 do
    if known[at] ~= visitor then
      if has_place(known[at]) or tonumber(known[at + 1]) > now - RESERVED_MS then
        count = count + 1
      else
        redis.call('ZREM', neighbours, known[at])
      end
    end
  end
  return count
end

local function reserve()
  local held_already = has_place(visitor)
  if most == 0 then
    return held_already and HELD or FREE
  end
  if not held_already and others() >= most then
    return REFUSED
  end
  write('ZADD', neighbours, now, visitor)
  redis.call('PEXPIRE', neighbours, KEPT_MS)
  return held_already and HELD or FREE
end

local code = reserve()
return { summary(false), code }
