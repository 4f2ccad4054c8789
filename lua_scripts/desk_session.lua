-- desk_session: begins, finds or ends a session of the operator's desk.
--
-- KEYS[1]  sessions  hash: hash of the session's token -> what belongs to it, as text: a proof, a blank, the operator
-- KEYS[2]  ends      zset: hash of the session's token -> epoch millisecond at which it ends
-- ARGV[1]  act       'begin', 'find' or 'end'
-- ARGV[2]  session   the hash of its token
-- ARGV[3]  record    what belongs to it; only for 'begin'
-- ARGV[4]  for_ms    how long it lasts; only for 'begin'
--
-- Returns  {record, milliseconds until it ends}; '' and 0 if there is no such session
-- Publishes nothing.
--
-- There are at most 1,000 sessions, and at most 100 of an operator: one more ends that which would end first, of the
-- operator's own if there are as many. So an operator who may only look does not sign all others out.
--
--- @include clock
local sessions, ends = KEYS[1], KEYS[2]
local act, session, record, for_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local MOST_SESSIONS = 1000
local MOST_OF_OPERATOR = 100

local function forget(hashes)
  if #hashes > 0 then
    redis.call('HDEL', sessions, unpack(hashes))
    redis.call('ZREM', ends, unpack(hashes))
  end
end

local function operator_of(text)
  return string.match(text or '', '^%S* (.*)$')
end

-- Ends sessions of the operator until there is room for one more.
local function bound_operator(operator)
  local own = {}
  local all = redis.call('ZRANGE', ends, 0, -1)
  local records = #all > 0 and redis.call('HMGET', sessions, unpack(all)) or {}
  for at, hash in ipairs(all) do
    if operator_of(records[at]) == operator then
      own[#own + 1] = hash
    end
  end
  local over = {}
  for at = 1, #own - MOST_OF_OPERATOR + 1 do
    over[at] = own[at]
  end
  forget(over)
end

if act == 'begin' then
  forget(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, MOST_SESSIONS))
  bound_operator(operator_of(record))
  forget(redis.call('ZRANGE', ends, 0, -MOST_SESSIONS))
  -- Changes nothing: Redis at maxmemory refuses HSET only as a script's first write (see write in includes/room.lua).
  redis.call('HDEL', sessions, '')
  redis.call('HSET', sessions, session, record)
  redis.call('ZADD', ends, string.format('%.0f', now + tonumber(for_ms)), session)
  redis.call('PEXPIRE', sessions, for_ms)
  redis.call('PEXPIRE', ends, for_ms)
  return { record, tonumber(for_ms) }
end
if act == 'end' then
  forget({ session })
  return { '', 0 }
end
local left = (tonumber(redis.call('ZSCORE', ends, session) or nil) or 0) - now
return { left > 0 and redis.call('HGET', sessions, session) or '', math.max(0, left) }
