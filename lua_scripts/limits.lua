-- limits: an operator changes a room's limits, pauses or resumes it.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] audit         stream, see includes/audit.lua
-- ARGV[5]  new_capacity  slots; 'lift': goes back to what the instances are configured with; '' for no change
-- ARGV[6]  new_duration  milliseconds; otherwise likewise
-- ARGV[7]  new_paused    '1', '0', or '' for no change
-- ARGV[8]  lift          '1': first go back to all that the instances are configured with; opens_at stays while users
--                        register
-- ARGV[9]  new_rules     further settings as text, see rules_of in includes/room.lua; 'absent=' goes back to what the
--                        instances are configured with for this one; '' for no change
-- ARGV[10] by            the operator's name
-- ARGV[11] why           the operator's reason, or ''
-- ARGV[12] new_stock     how many things are left to sell; '' for no change, 'off': not known any more
--
-- Returns  {summary}
-- Publishes ADMITTED for each user promoted.
--
-- A value set here overrides what instances are configured with until it is lifted. A lower capacity ends no session; a
-- higher one promotes users at once, and so does resuming. Each setting that is named, or that a lift changes, gets an
-- entry in the audit.
--
--- @all
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include tickets
--- @include place
--- @include opening
--- @include parking
--- @include session
--- @include promote
--- @include rules
--- @include audit
--- @include summary
local new_capacity, new_duration, new_paused, lift, new_rules = ARGV[5], ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9]
local audit, by, why, new_stock = KEYS[19], ARGV[10], ARGV[11], ARGV[12]

do
  local wrong = unsound_audit(audit, by) or wrong_type_of_kept(true) or wrong_type_of_history()
  if wrong then
    return wrong
  end
end
if new_capacity ~= '' and new_capacity ~= 'lift' and not limit(new_capacity, 0) then
  return bad_argument('new_capacity')
end
if new_duration ~= '' and new_duration ~= 'lift' and not limit(new_duration, 1) then
  return bad_argument('new_duration')
end
if new_paused ~= '' and new_paused ~= '0' and new_paused ~= '1' then
  return bad_argument('new_paused')
end
if new_stock ~= '' and new_stock ~= 'off' and not limit(new_stock, 0) then
  return bad_argument('new_stock')
end
if not sound_rules(new_rules) then
  return bad_argument('new_rules')
end
local lift_capacity, lift_duration = new_capacity == 'lift', new_duration == 'lift'
new_capacity, new_duration = limit(new_capacity, 0), limit(new_duration, 1)

local capacity_then, duration_then, rules_then = capacity, duration, rules_of(rules)
local stock_then = rule.stock and as_ticket(rule.stock) or ''

-- Writes what has changed. Settings that the operator names have an entry also if they stay as they were.
local function note_changes()
  local order, noted = { audit, by, why }, 0
  local function note(act, setting, from, to)
    note_change(order, act, setting, '', from, to)
    noted = noted + 1
  end
  local function note_number(setting, from, to, given, lifted)
    if given or lifted or from ~= to then
      note(given and 'set' or 'lift', setting, string.format('%.0f', from), string.format('%.0f', to))
    end
  end
  note_number('capacity', capacity_then, capacity, new_capacity, lift_capacity)
  note_number('duration_ms', duration_then, duration, new_duration, lift_duration)
  local stock_now = rule.stock and as_ticket(rule.stock) or ''
  if new_stock ~= '' or stock_now ~= stock_then then
    note(stock_now ~= '' and 'set' or 'lift', 'stock', stock_then, stock_now)
  end
  if new_paused ~= '' then
    note(new_paused == '1' and 'pause' or 'resume', 'paused', stored_limits[3] == '1' and '1' or '0', new_paused)
  end
  local given, rules_now, names = {}, rules_of(rules), {}
  for name, value in string.gmatch(new_rules, '([%w_]+)=(%S*)') do
    given[name] = value
  end
  for _, values in ipairs({ given, rules_then, rules_now }) do
    for name in pairs(values) do
      names[#names + 1] = name
    end
  end
  table.sort(names)
  for at, name in ipairs(names) do
    local from, to = rules_then[name] or '', rules_now[name] or ''
    if name ~= names[at - 1] and (given[name] or from ~= to) then
      note((given[name] or '') ~= '' and 'set' or 'lift', name, from, to)
    end
  end
  if lift and noted == 0 then
    note('lift', '', '', '')
  end
end

if lift or lift_capacity or lift_duration or new_capacity or new_duration then
  local declared, stands = redis.call('HMGET', settings, 'declared_capacity', 'declared_duration_ms'), overrides()
  if lift or lift_capacity then
    capacity = limit(declared[1], 0) or default_capacity
  end
  if lift or lift_duration then
    duration = limit(declared[2], 1) or default_duration
  end
  capacity, duration = new_capacity or capacity, new_duration or duration
  write_overrides(
    new_capacity or stands.capacity and not (lift or lift_capacity),
    new_duration or stands.duration_ms and not (lift or lift_duration))
  write('HSET', settings,
    'capacity', string.format('%.0f', capacity), 'duration_ms', string.format('%.0f', duration))
  read_rules()
end
-- Before pausing takes effect: the time until now counts for the pace, and time paused does not. Before promoting: a
-- user who gets a new slot says nothing about how long others hold theirs.
keep_pace(true)
if new_paused ~= '' then
  paused = new_paused == '1' or rule.under_way or rule.emptying ~= nil
  write('HSET', settings, 'paused', new_paused)
end
if lift or new_rules ~= '' then
  change_rules(new_rules, lift)
end
if lift or new_stock == 'off' then
  redis.call('HDEL', settings, 'stock')
  read_stock()
end
if limit(new_stock, 0) then
  local text = as_ticket(limit(new_stock, 0)) .. ' operator'
  write('HSET', settings, 'stock', text)
  read_stock(text)
end
note_changes()
if new_paused ~= '' then
  stored_limits[3] = new_paused
end
promote()
return { summary(false) }
