-- reserve: whether a visitor who lines up may have a place, as far as the other visitors at the same address are
-- concerned.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] neighbours  zset: visitor -> epoch millisecond of the last lineup, of visitors who lined up from one address
-- ARGV[5]  visitor     who lines up
-- ARGV[6]  most        visitors of this address who may have a place or a slot at a time; 0: no bound
-- ARGV[7]  giver       whose place the visitor takes over, so that it counts for none here; '': no one
--
-- Returns  {summary, code, stamp}; codes: REFUSED (there are as many already), FREE (the visitor may line up), HELD (the
--          visitor has a place or slot already, so this lineup takes no further one). stamp: for unreserve.lua; 0 if
--          there is nothing to take back
-- Publishes nothing.
--
-- Parked and registered visitors have a place. A lineup comes right after this call. So a visitor without a place counts
-- for RESERVED_MS, and two lineups at a time can't both take the last place. The key expires when no visitor has lined up
-- from the address for a long time.
--
-- The key never gets more than most visitors, and one more for a place that moves within the address. While it holds
-- fewer than most, none needs to be looked at. Otherwise one call looks at MOST of them, and forgets those without a
-- place. Which ones depends on the time, so repeated calls see all.
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
--- @include summary
local neighbours = KEYS[19]
local visitor, most, giver = ARGV[5], limit(ARGV[6], 0), ARGV[7]
local REFUSED, FREE, HELD = 0, 1, 2
local RESERVED_MS = 10000
local KEPT_MS = 172800000
estimates = false

do
  local wrong = wrong_type(neighbours, 'ZCARD')
  if wrong then
    return wrong
  end
  if not most then
    return bad_argument('most')
  end
end

-- A session that is over counts for none, even if it has not been swept yet.
local function has_place(user)
  local place, left = place_of(user), session_left(user)
  return place or (left and left > 0) or redis.call('ZSCORE', parked, user)
    or (rule.opening and is_registered(user, place)) or false
end

-- Forgets visitors who have no place and are about to get none. known: how many there are. Returns how many are gone.
local function forget_some(known)
  local first = known > MOST and now % (known - MOST + 1) or 0
  local seen, gone = redis.call('ZRANGE', neighbours, first, first + MOST - 1, 'WITHSCORES'), {}
  for at = 1, #seen, 2 do
    local user = seen[at]
    if user ~= visitor and user ~= giver and tonumber(seen[at + 1]) <= now - RESERVED_MS and not has_place(user) then
      gone[#gone + 1] = user
    end
  end
  if #gone > 0 then
    redis.call('ZREM', neighbours, unpack(gone))
  end
  return #gone
end

local function reserve()
  local held_already = has_place(visitor)
  if most == 0 then
    return held_already and HELD or FREE, 0
  end
  local known, own = redis.call('ZCARD', neighbours), tonumber(redis.call('ZSCORE', neighbours, visitor) or nil)
  local others = known - (own and 1 or 0)
  if giver ~= '' and redis.call('ZSCORE', neighbours, giver) then
    others = others - 1
  end
  if others >= most and not held_already then
    others = others - forget_some(known)
  end
  if others >= most and not (held_already and own) then
    return held_already and HELD or REFUSED, 0
  end
  -- The stamp belongs to this call alone: another one of the same visitor changes it, so neither takes back the other's.
  local stamp = math.max(now, own and own + 1 or 0)
  write('ZADD', neighbours, stamp, visitor)
  redis.call('PEXPIRE', neighbours, KEPT_MS)
  if held_already then
    return HELD, 0
  end
  return FREE, own and own > now - RESERVED_MS and 0 or stamp
end

local code, stamp = reserve()
return { summary(false), code, stamp }
