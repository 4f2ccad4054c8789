-- rate_limit: takes tokens out of buckets, for requests of routes that limit their rate.
--
-- KEYS[1…]  buckets   strings: '<tokens> <at, in epoch ms>'; those of the first request, then of the second, and so on
-- ARGV[1…]  requests  for each request: how many buckets it has; then for each of them how many tokens come a second,
--                     how many it holds, and how many the request takes
--
-- A bucket starts full and is refilled evenly. A request takes from its buckets in turn. The first that has too few
-- tokens refuses the request: it loses none, and those behind it are not asked. A bucket that would be full again is
-- forgotten.
--
-- Returns  for each request {1 if it is allowed, else 0; in how many ms it would be, or -1 if never; how many whole
--          tokens are left in each bucket that was asked…}
-- Publishes nothing.
--
--- @include clock
-- Far below a millisecond: what adding fractions is off by must not add one.
local ROUNDING = 1e-6
local FIRST_BUCKET = 1
local FIRST_REQUEST = 1
local bucket = FIRST_BUCKET - 1
local argument = FIRST_REQUEST - 1

local function next_number()
  argument = argument + 1
  local at = argument
  return tonumber(ARGV[at])
end

-- Returns the tokens in the bucket now. A value that no gateway wrote counts as a full bucket.
local function tokens_in(key, rate, capacity)
  local tokens, at = string.match(redis.call('GET', key) or '', '^(%d+%.%d+) (%d+)$')
  if not tokens then
    return capacity
  end
  -- The clock may have been set back.
  local passed = math.max(0, now - tonumber(at))
  return math.min(capacity, tonumber(tokens) + passed * rate / 1000)
end

local function keep(key, tokens, rate, capacity)
  local full_in = math.ceil((capacity - tokens) * 1000 / rate)
  -- Changes nothing: Redis at maxmemory refuses SET only as a script's first write (see write in includes/room.lua).
  redis.call('DEL', key)
  if full_in > 0 then
    redis.call('SET', key, string.format('%.6f %.0f', tokens, now), 'PX', string.format('%.0f', full_in))
  end
end

local answers = {}
while argument < #ARGV do
  local answer = { 1, 0 }
  for _ = 1, next_number() do
    bucket = bucket + 1
    local rate, capacity, wanted = next_number(), next_number(), next_number()
    if answer[1] == 1 then
      local key = KEYS[bucket]
      local tokens = tokens_in(key, rate, capacity)
      if tokens < wanted then
        answer[1] = 0
        answer[2] = wanted > capacity and -1 or math.ceil((wanted - tokens) * 1000 / rate - ROUNDING)
      else
        tokens = tokens - wanted
        keep(key, tokens, rate, capacity)
      end
      answer[#answer + 1] = math.floor(tokens)
    end
  end
  answers[#answers + 1] = answer
end
return answers
