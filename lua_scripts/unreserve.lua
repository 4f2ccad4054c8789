-- unreserve: a lineup was refused after reserve.lua had let it come, so it takes no place at its address.
--
-- KEYS[1]  neighbours  zset: visitor -> epoch millisecond of the last lineup, see reserve.lua
-- ARGV[1]  visitor     who lined up
-- ARGV[2]  stamp       what reserve.lua returned
--
-- Returns  1 if the visitor is gone from the key, 0 if another lineup of the same visitor has come meanwhile
-- Publishes nothing.
--
local neighbours = KEYS[1]
local visitor, stamp = ARGV[1], ARGV[2]

if tonumber(redis.call('ZSCORE', neighbours, visitor) or nil) ~= tonumber(stamp) then
  return 0
end
return redis.call('ZREM', neighbours, visitor)
