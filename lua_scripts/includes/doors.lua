-- The doors of a room: closed, sold out, being emptied. Needs clock, room, lanes, history, tickets, place, opening,
-- parking and session.
--
-- The hash settings holds what operators have said, see read_doors in includes/room.lua. When the line ends, users lose
-- their places in bounded steps: the call of the operator does the first one, and the sweep the others.

-- Puts in force what an operator says. values: by name, as read_doors has them.
local function write_doors(values)
  local parts = {}
  for _, name in ipairs({ 'closed', 'until', 'sold_out', 'emptying', 'emptied_at', 'emptied_number' }) do
    if values[name] then
      parts[#parts + 1] = name .. '=' .. values[name]
    end
  end
  local text = table.concat(parts, ' ')
  if text == '' then
    redis.call('HDEL', settings, 'doors')
  else
    write('HSET', settings, 'doors', text)
  end
  stored_limits[7] = text
  read_doors(text)
end

-- How many registered users can lose their registrations now. Once the pre-queue has closed, they first get their places.
local function may_withdraw()
  return rule.opening and rule.opening.phase == 'gathering' and redis.call('ZCARD', registered) or 0
end

-- The user loses the place or registration, unless the user is allowed in. Returns {user, ticket}, or nil.
local function end_place(user)
  local left = session_left(user)
  if left and left > 0 then
    settle(user, left)
    return nil
  end
  local ticket = leave_line(user)
  if ticket then
    forget_place(user)
    happened(user, 'REMOVED', ticket, rule.sold_out and 'SOLD_OUT' or 'OPERATOR')
  end
  return ticket and { user, ticket } or nil
end

-- Ends at most `most` places, if the line is to end. Returns how many users it examined. Users who go this way have not
-- given up, so they don't count for the pace.
local function end_places(most)
  if not rule.emptying or most <= 0 then
    return 0
  end
  local users = redis.call('ZRANGEBYSCORE', line, '-inf', as_ticket(rule.emptying), 'LIMIT', 0, most)
  for nth = 1, lanes and #lanes - 1 or 0 do
    local more = redis.call(
      'ZRANGEBYSCORE', lanes[nth].key, '-inf', as_ticket(rule.emptying), 'LIMIT', 0, most - #users)
    for _, user in ipairs(more) do
      users[#users + 1] = user
    end
  end
  if parked_count > 0 and #users < most then
    local kept = redis.call('ZRANGEBYSCORE', parked, '-inf', as_ticket(rule.emptied_at), 'LIMIT', 0, most - #users)
    for _, user in ipairs(kept) do
      users[#users + 1] = user
    end
  end
  if may_withdraw() > 0 and #users < most then
    local numbers = redis.call(
      'ZRANGEBYSCORE', registered, '-inf', as_ticket(rule.emptied_number), 'LIMIT', 0, most - #users)
    for _, user in ipairs(numbers) do
      users[#users + 1] = user
    end
  end
  local people, waiting_then = {}, waiting
  for _, user in ipairs(users) do
    people[#people + 1] = end_place(user)
  end
  waiting_before = waiting_before - (waiting_then - waiting)
  done.removed = (done.removed or 0) + #people
  if rule.sold_out then
    tell('SOLD_OUT', people)
  else
    tell('OPERATOR', people)
    if #users < most and not rule.under_way then
      local values = rules_of(stored_limits[7])
      values.emptying, values.emptied_at, values.emptied_number = nil, nil, nil
      write_doors(values)
    end
  end
  return #users
end
