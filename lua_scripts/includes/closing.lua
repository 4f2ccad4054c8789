-- The close of a pre-queue: from then on the users who take part, and their tickets, are fixed. Needs clock, room,
-- tickets and opening.

--- @only if rule.opening
-- Closes the pre-queue if it is time. If opens_at is 0 it is time at once: an operator has opened the room. If it is
-- missing, the room goes on gathering until there is a moment again: an instance with a route file of earlier, or the end
-- of an operator's value, must open no sale.
local function close_if_due()
  local opening = rule.opening
  if not opening or opening.phase ~= 'gathering' or rule.without_moment or now < rule.opens_at then
    return
  end
  opening.phase, opening.value, opening.placed, opening.gone = 'closed', rule.opens_at, 0, 0
  opening.base, opening.size = highest_ticket(), redis.call('ZCARD', registered)
  rule.under_way, paused = true, true
  last_given = as_ticket(opening.base + opening.size)
  write('SET', counter, last_given)
  write_opening()
end
--- @end
