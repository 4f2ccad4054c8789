-- Lanes: lines of their own within a room, each with a share of the admissions. Only this file knows in which lane a user
-- waits. Needs clock and room.
--
-- The setting lanes names them: 'members:3000,gold:2000', with shares in parts of 10,000. A lane whose share is 0 is no
-- longer configured: it takes no users, and the sweep moves those whom it has to lane default. Lane default comes last and
-- has the rest; its users are in the key line. In a room with lanes the last keys of every call are:
--
--   lanes      hash  user -> lane, for lanes other than default: of users who wait in it, are parked from it, are registered
--              for it, or were promoted from it and have yet to claim the slot
--   lane:NAME  zset  user -> ticket; one for each lane other than default
--
-- If one of them is missing, the script answers 'LANES ' and the setting, and does nothing.
--
-- An older system knows only lane default. If it puts a user of another lane in line, the user has two places: either one
-- admits, and both end together. The hash settings holds how many users are registered for a lane, as 'registered:NAME'.
-- The hash pace holds what the lanes are owed, see deal.

-- The lanes in their order; nil if the room has none. Of each: name; key; weight, the share; size, how many users wait;
-- number, which of the lanes it is.
-- Beside them: default, that lane; by_name; hash, that key; known: lanes by user, as far as this call has looked; entered: by
-- user, the names in the hash; changes: what is to be written to it; wanted: the names of the lanes that users get with a
-- new ticket, by user.
local lanes

-- The one line of a room without lanes.
local whole = { key = line, size = waiting }

-- The keys of lanes by name, and the key lanes by the name ''; nil without any. They are taken off the end of KEYS, so that
-- scripts find there what they find without lanes.
local lane_keys
if string.find(KEYS[#KEYS], ':lane:', 1, true) then
  -- The key settings ends with that word, after what all keys of the room begin with.
  local own = string.sub(settings, 1, -9)
  local first, prefix = #own + 6, own .. 'lane:'
  -- Tables for lanes are made with room for three, which is cheaper than letting them grow.
  lane_keys = { [''] = nil, a = nil, b = nil, c = nil }
  while string.find(KEYS[#KEYS], prefix, 1, true) == 1 do
    lane_keys[string.sub(KEYS[#KEYS], first)] = KEYS[#KEYS]
    KEYS[#KEYS] = nil
  end
  if KEYS[#KEYS] == own .. 'lanes' then
    lane_keys[''] = KEYS[#KEYS]
    KEYS[#KEYS] = nil
  end
end

--- @only if rule.lanes
-- Reads which lanes are in force. Returns an error reply if a key is missing or holds another type, else nil.
local function read_lanes()
  if not rule.lanes then
    whole.size, lanes = waiting, nil
    return nil
  end
  local hash = lane_keys and lane_keys['']
  if not hash then
    return redis.error_reply('LANES ' .. rule.lanes)
  end
  local wrong = not looks_up_lanes and wrong_type(hash, 'HLEN')
  if wrong then
    return wrong
  end
  local found = {
    nil, nil, nil, nil,
    by_name = { default = nil, a = nil, b = nil, c = nil }, known = { user = nil }, entered = { user = nil }, changes = {},
    hash = hash, default = nil,
  }
  local total = lanes and lanes.default.size or whole.size
  local default = { name = 'default', key = line, weight = 10000, size = total }
  for name, weight in string.gmatch(rule.lanes, '([%w_-]+):(%d+)') do
    local key = lane_keys[name]
    if not key then
      return redis.error_reply('LANES ' .. rule.lanes)
    end
    local size = redis.pcall('ZCARD', key)
    wrong = failed_read(key, size)
    if wrong then
      return wrong
    end
    local lane = { name = name, key = key, weight = tonumber(weight), size = size, number = #found + 1 }
    found[lane.number], found.by_name[name] = lane, lane
    total, default.weight = total + size, math.max(0, default.weight - lane.weight)
  end
  default.number = #found + 1
  found[default.number], found.by_name.default, found.default = default, default, default
  lanes, waiting = found, total
  return nil
end
--- @end

do
  local wrong = read_lanes()
  if wrong then
    return wrong
  end
  waiting_before = waiting
end

--- @only if lanes
-- Looks up the lanes of users, whom it gets as arguments, at once. At least one. Returns an error reply if the key holds
-- another type, else nil.
local function look_up_lanes(...)
  local users, names = { ... }, redis.pcall('HMGET', lanes.hash, ...)
  local wrong = failed_read(lanes.hash, names)
  if wrong then
    return wrong
  end
  for nth, name in ipairs(names) do
    local user = users[nth]
    if lanes.changes[user] ~= nil then
      -- This is still to be written.
      name = lanes.changes[user]
    end
    lanes.entered[user] = name
    lanes.known[user] = name and lanes.by_name[name] or lanes.default
  end
end
--- @end

-- The lane of a user in line, parked or registered.
local function lane_of(user)
  if not lanes then
    return whole
  end
  if not lanes.known[user] then
    look_up_lanes(user)
  end
  return lanes.known[user]
end

--- @only if lanes
-- From now on the user belongs to the lane of this name, or to lane default if no such lane takes users. Returns the lane.
local function assign_lane(user, name)
  local lane, before = lanes.by_name[name], lane_of(user)
  if not lane or lane.weight == 0 then
    lane = lanes.default
  end
  local entry = lane.key ~= line and lane.name or false
  if lanes.entered[user] ~= entry or before ~= lane then
    lanes.changes[user] = entry
    lanes.entered[user], lanes.known[user] = entry, lane
  end
  return lane
end

-- The user has no place any more, nor one to come back to, and so belongs to no lane.
local function leave_lane(user)
  if lanes then
    assign_lane(user, 'default')
  end
end

-- Called once at the end of a script.
local function keep_lanes()
  if not lanes or not next(lanes.changes) then
    return
  end
  local set, gone = {}, {}
  for user, name in pairs(lanes.changes) do
    if name then
      set[#set + 1], set[#set + 2] = user, name
    else
      gone[#gone + 1] = user
    end
  end
  if #gone > 0 then
    redis.call('HDEL', lanes.hash, unpack(gone))
  end
  if #set > 0 then
    write('HSET', lanes.hash, unpack(set))
  end
end
--- @end

-- The user's ticket as Redis has it, nil if the user is not in line; and the lane.
local function place_of(user)
  local lane = lane_of(user)
  local ticket = redis.call('ZSCORE', lane.key, user)
  if not ticket and lane.key ~= line then
    -- An older system may have put the user in line.
    ticket = redis.call('ZSCORE', line, user)
    if ticket then
      lane = lanes.default
      lanes.known[user] = lane
    end
  end
  return ticket, lane
end

-- The tickets of many users, as ZMSCORE returns them.
local function places_of(users)
  local found = redis.call('ZMSCORE', line, unpack(users))
  if lanes then
    if not looks_up_lanes then
      look_up_lanes(unpack(users))
    end
    for at, user in ipairs(users) do
      local key = lanes.known[user].key
      if key ~= line then
        local ticket = redis.call('ZSCORE', key, user)
        if ticket then
          found[at] = ticket
        elseif found[at] then
          -- An older system has put the user in line.
          lanes.known[user] = lanes.default
        end
      end
    end
  end
  return found
end

-- Puts a user into a lane, or changes the user's ticket there.
local function put_in_lane(lane, user, ticket)
  local more = write('ZADD', lane.key, ticket, user)
  waiting, lane.size = waiting + more, lane.size + more
end

-- Takes users out of the line, from whichever lane.
local function take_out(...)
  for nth = 1, lanes and #lanes or 1 do
    local lane = lanes and lanes[nth] or whole
    local fewer = redis.call('ZREM', lane.key, ...)
    waiting, lane.size = waiting - fewer, lane.size - fewer
  end
end

--- @only if following
-- Whether the next user of a lane has an open stream at a gateway, so that the gateway can notify the user.
local function next_can_be_told()
  for nth = 1, lanes and #lanes or 1 do
    local head = redis.call('ZRANGE', lanes and lanes[nth].key or line, 0, 0)
    if head[1] and redis.call('HEXISTS', streams, head[1]) == 1 then
      return true
    end
  end
  return false
end
--- @end

--- @only if lanes and timed
-- So many users more are registered for the user's lane.
local function count_registered(user, by)
  local lane = lane_of(user)
  if lanes and lane.key ~= line then
    local field = 'registered:' .. lane.name
    write('HSET', settings, field, math.max(0, (limit(redis.call('HGET', settings, field), 0) or 0) + by))
  end
end

-- How many of all the users who are registered and not in line yet are registered for this lane.
local function registered_for(wanted, all)
  for nth = 1, lanes and #lanes - 1 or 0 do
    local own = math.min(all, limit(redis.call('HGET', settings, 'registered:' .. lanes[nth].name), 0) or 0)
    if lanes[nth] == wanted then
      return own
    end
    all = all - own
  end
  return all
end
--- @end

--- @only if lanes
-- Deals admissions to the lanes by their shares, in deficit round robin with one admission a round. In each round every lane
-- that has users is owed its part of the admission. The lane that is owed most, the first of several, gives the user and
-- pays for the round. What a lane is owed when it has no users left passes on to the others; what it has had too much it
-- goes on owing. So the sum of what lanes are owed is always 0, and a lane that has users gets its share to within one
-- admission for each lane.
-- left: how many users each lane can give, by its number; this function uses it up. count: at most as many in all.
-- Returns how many each lane gives.
local function deal(count, left)
  -- Owed are whole parts of an admission.
  local PARTS, MOST_OWED = 1000000, 100000000
  local owed, dealt = {}, {}
  for name, text in string.gmatch(redis.call('HGET', pace, 'owed') or '', '([%w_-]+)=(%S+)') do
    local lane, number = lanes.by_name[name], number_within(text, -MOST_OWED, MOST_OWED)
    if not lane or not number then
      -- Of other lanes, or unusable.
      owed = {}
      break
    end
    owed[lane.number] = math.floor(number)
  end

  -- The part of an admission that each lane is owed as long as these lanes have users, by its number; and the sum.
  local parts, sum
  local function divide()
    local total, busy = 0, 0
    for nth, lane in ipairs(lanes) do
      if left[nth] > 0 then
        total, busy = total + lane.weight, busy + 1
      end
    end
    parts, sum = {}, 0
    for nth, lane in ipairs(lanes) do
      if left[nth] > 0 then
        parts[nth] = math.floor(total > 0 and PARTS * lane.weight / total or PARTS / busy)
        sum = sum + parts[nth]
      end
    end
  end

  -- What is rounded off goes to the first lane.
  local function pass_on(amount)
    local rest, first = amount, nil
    for nth = 1, #lanes do
      if parts[nth] and parts[nth] > 0 then
        local given = math.floor(amount * parts[nth] / sum)
        owed[nth], rest, first = (owed[nth] or 0) + given, rest - given, first or nth
      end
    end
    owed[first] = owed[first] + rest
  end

  for _ = 1, count do
    if not parts then
      divide()
      for nth = 1, #lanes do
        if not parts[nth] and (owed[nth] or 0) > 0 then
          pass_on(owed[nth])
          owed[nth] = 0
        end
      end
    end
    local best
    for nth = 1, #lanes do
      if parts[nth] then
        owed[nth] = (owed[nth] or 0) + parts[nth]
        best = best and owed[best] >= owed[nth] and best or nth
      end
    end
    owed[best] = owed[best] - sum
    dealt[best], left[best] = (dealt[best] or 0) + 1, left[best] - 1
    parts = left[best] > 0 and parts or nil
  end
  local texts = {}
  for nth, lane in ipairs(lanes) do
    texts[nth] = string.format('%s=%.0f', lane.name, owed[nth] or 0)
  end
  write('HSET', pace, 'owed', table.concat(texts, ' '))
  return dealt
end

-- For the summary: the setting, and how many users wait in each lane; nil if there are no lanes.
local function lane_numbers()
  if not lanes then
    return nil
  end
  local numbers = { rule.lanes, nil, nil, nil }
  for nth, lane in ipairs(lanes) do
    numbers[nth + 1] = lane.size
  end
  return numbers
end
--- @end
