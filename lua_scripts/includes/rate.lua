-- The rate of admissions: a bucket of tokens, of which each admission takes one. Needs clock and room.
--
-- The bucket holds the tokens of one second, at least one. It starts full, is refilled evenly, and gets no token back.
-- The hash pace holds it: tokens, and tokens_at (ms), when that was counted. Tokens are counted in parts of which even
-- the lowest rate refills a whole number each millisecond, so that nothing is lost by rounding.

--- @only if rule.refill
-- The tokens' parts now; nil before the first look, which only calls that could admit a user need.
local parts
local changed = false

-- How many users may be admitted now as far as the rate is concerned. A moment in the future counts as now.
local function tokens_left()
  if not rule.refill then
    return EXACT
  end
  if not parts then
    local stored = redis.call('HMGET', pace, 'tokens', 'tokens_at')
    local most = math.max(TOKEN_PARTS, rule.refill * 1000)
    local counted, at = number_within(stored[1], 0, EXACT), number_within(stored[2], 0, EXACT)
    -- So that it is written anew, and the refilling begins.
    changed = at ~= nil and at > now
    parts = counted and at and math.min(most, counted + math.max(0, now - at) * rule.refill) or most
  end
  return math.max(0, math.floor(parts / TOKEN_PARTS))
end

-- Takes tokens for so many admissions.
local function spend(count)
  if rule.refill and count > 0 then
    tokens_left()
    parts = parts - count * TOKEN_PARTS
    changed = true
  end
end

-- Called once at the end of a script.
local function keep_tokens()
  if changed then
    write('HSET', pace, 'tokens', string.format('%.0f', math.max(0, parts)), 'tokens_at', string.format('%.0f', now))
  end
end

-- Puts settings in force. What the bucket holds by the rate until now stays, as far as the new bucket holds it.
local function change_rate(put_in_force)
  local before = rule.refill
  if before then
    tokens_left()
  end
  put_in_force()
  if before and not rule.refill then
    redis.call('HDEL', pace, 'tokens', 'tokens_at')
    parts, changed = nil, false
  elseif before and rule.refill ~= before then
    parts, changed = math.min(parts, math.max(TOKEN_PARTS, rule.refill * 1000)), true
  end
end

-- Milliseconds until the next user in line may be admitted, if only a token is missing; else 0.
local function next_token()
  if not rule.refill or paused or waiting == 0 or capacity <= held or tokens_left() > 0 then
    return 0
  end
  return math.ceil((TOKEN_PARTS - parts) / rule.refill)
end
--- @end
