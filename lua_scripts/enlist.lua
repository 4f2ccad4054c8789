-- enlist: a room that calls name is about to be made: it is entered in the list of such rooms.
--
-- KEYS[1]  rooms      zset: room -> epoch millisecond at which it was entered last
-- KEYS[2]  version    string: another number after each change of rooms
-- KEYS[3]  of_client  zset, only with per_client: room -> epoch millisecond at which this client made it
-- ARGV[1]  room       its name
-- ARGV[2]  most       rooms that there may be
-- ARGV[3]  per_client rooms on the list that the client may have made, up to MOST; missing: no bound
--
-- Returns  the moment (ms) at which the room was entered; 0: there are too many rooms already; -1: this client has made
--          too many of them
-- Publishes nothing.
--
-- A room that is entered already gets a later moment. So an instance that has just found it idle does not strike it off;
-- see delist.lua.
--
-- Which rooms of the client are gone is looked up only when the bound is reached. The key never gets more than
-- per_client rooms, and it expires when the client has made none for a long time.
--
--- @include clock
--- @include directory
local rooms, version, of_client = KEYS[1], KEYS[2], KEYS[3]
local room, most, per_client = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3] or nil)
local MOST = 1000
local KEPT_MS = 172800000

do
  local wrong = unsound_directory(rooms, version) or of_client and unsound_directory(of_client, version)
  if wrong then
    return wrong
  end
end
local entered = tonumber(redis.call('ZSCORE', rooms, room) or nil)
if entered then
  return enter(rooms, version, room, entered)
end
if redis.call('ZCARD', rooms) >= most then
  return 0
end
if not of_client then
  return enter(rooms, version, room)
end

-- Forgets the rooms of the client that are no longer on the list.
local function forget_gone()
  local known, gone = redis.call('ZRANGE', of_client, 0, MOST - 1), {}
  local found = redis.call('ZMSCORE', rooms, unpack(known))
  for at = 1, #known do
    if not found[at] then
      gone[#gone + 1] = known[at]
    end
  end
  if #gone > 0 then
    redis.call('ZREM', of_client, unpack(gone))
  end
end

if redis.call('ZCARD', of_client) >= per_client then
  forget_gone()
  if redis.call('ZCARD', of_client) >= per_client then
    return -1
  end
end
local moment = enter(rooms, version, room)
redis.call('ZADD', of_client, string.format('%.0f', moment), room)
redis.call('PEXPIRE', of_client, KEPT_MS)
return moment
