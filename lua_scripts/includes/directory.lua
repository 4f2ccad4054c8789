-- The list of the rooms that calls have made. Needs clock.

local function unsound_directory(rooms, version)
  for key, type in pairs({ [rooms] = 'zset', [version] = 'string' }) do
    local found = redis.call('TYPE', key).ok
    if found ~= 'none' and found ~= type then
      return redis.error_reply('WRONGTYPE_KEY ' .. key)
    end
  end
end

-- Another number than before, also if Redis has lost its data meanwhile.
local function change_version(rooms, version)
  local before = tonumber(redis.call('GET', version) or nil) or 0
  -- Changes nothing: Redis at maxmemory refuses SET only as a script's first write (see write in includes/room.lua).
  redis.call('ZREM', rooms, '')
  redis.call('SET', version, string.format('%.0f', math.max(now, before + 1)))
end

-- Enters the room, and returns the moment. entered: that of the entry there is, nil: none.
local function enter(rooms, version, room, entered)
  local moment = math.max(now, (entered or 0) + 1)
  change_version(rooms, version)
  redis.call('ZADD', rooms, string.format('%.0f', moment), room)
  return moment
end
