-- now: milliseconds since the epoch by Redis's own clock, the only clock that a room uses.
local now
do
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
