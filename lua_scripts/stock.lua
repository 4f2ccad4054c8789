-- stock: a service says how many things are left to sell.
--
-- KEYS     those of a room, see includes/room.lua
-- ARGV[5]  left  how many
--
-- Returns  {summary}
-- Publishes nothing.
--
-- An operator sets the same by limits. The last writer wins.
--
--- @all
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include place
--- @include opening
--- @include summary
local left = limit(ARGV[5], 0)

if not left then
  return bad_argument('left')
end
local text = as_ticket(left) .. ' service'
if stored_limits[8] ~= text then
  write('HSET', settings, 'stock', text)
  read_stock(text)
end
return { summary(false) }
