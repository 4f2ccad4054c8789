-- delist: a room that calls had made is no more, so it is struck off the list.
--
-- KEYS[1]  rooms    zset, see enlist.lua
-- KEYS[2]  version  string, likewise
-- ARGV[1]  room     its name
-- ARGV[2]  entered  the moment at which it was entered, as the caller knows it
-- ARGV[3]  for_ms   it must have been entered for so long
--
-- Returns  1 if it was struck off, else 0
-- Publishes nothing.
--
-- An instance that makes the room again enters it first, which changes the moment. So the room stays on the list if it
-- was made again after the caller found it gone.
--
--- @include clock
--- @include directory
local rooms, version = KEYS[1], KEYS[2]
local room, entered, for_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

do
  local wrong = unsound_directory(rooms, version)
  if wrong then
    return wrong
  end
end
if tonumber(redis.call('ZSCORE', rooms, room) or nil) ~= entered or math.max(0, now - entered) < for_ms then
  return 0
end
redis.call('ZREM', rooms, room)
change_version(rooms, version)
return 1
