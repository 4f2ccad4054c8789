-- The settings beside capacity and duration: what instances are configured with, and what operators set. Needs room,
-- lanes and rate.
--
-- The hash settings holds three texts, each as rules_of reads it: declared_rules (what the last instance was configured
-- with), operator_rules (operators' values, which win), and rules (what is in force, made of both).

-- The allowed values, as patterns and as words. A rate has at most seven digits.
local ALLOWED = {
  ['absent'] = '^%d+$', hold = '^%d+$', max_session = '^%d+$', claim = '^%d+$', ['history'] = '^%d+$',
  max_waiting = '^%d+$', lineups_per_minute = '^%d+$', rate = '^[1-9]%d?%d?%d?%d?%d?%d?/[smh]$',
  opens_at = '^%d+$', closes_at = '^%d+$', prequeue = '^%d+$', lanes = '^[%w_-]+:%d+[%w_,:-]*$',
}
local ALLOWED_WORDS = { rate = ' off ', relineup = ' back keep ', lineup = ' explicit implicit ', mode = ' on off observe ' }

local function allowed(name, value)
  local pattern, words = ALLOWED[name], ALLOWED_WORDS[name]
  return pattern and string.find(value, pattern) or words and string.find(words, ' ' .. value .. ' ', 1, true)
end

-- Whether a text of settings has only known names and allowed values. A value may be empty.
local function sound_rules(text)
  local rest = string.gsub(text, '([%w_]+)=(%S*) ?', function(name, value)
    local known = (ALLOWED[name] or ALLOWED_WORDS[name]) and (#value <= 16 or name == 'lanes')
    return known and (value == '' or allowed(name, value)) and '' or nil
  end)
  return rest == ''
end

-- Settings by name as text, in a fixed order.
local function rules_text(values)
  local parts = {}
  for name, value in pairs(values) do
    parts[#parts + 1] = name .. '=' .. value
  end
  table.sort(parts)
  return table.concat(parts, ' ')
end

-- Lanes as text. Those of before that are missing now stay, with no share, until the sweep has moved their users.
local function merge_lanes(before, declared)
  local found = { declared }
  for name in string.gmatch(before or '', '([%w_-]+):%d+') do
    if not string.find(',' .. (declared or ''), ',' .. name .. ':', 1, true) then
      found[#found + 1] = name .. ':0'
    end
  end
  return #found > 0 and table.concat(found, ',') or nil
end

-- Puts in force what instances declared and what operators set.
local function merge_rules(declared, operators)
  local values = rules_of(declared)
  for name, value in pairs(rules_of(operators)) do
    values[name] = value
  end
  values.lanes = merge_lanes(rule.lanes, values.lanes)
  change_rate(function()
    write_rules(rules_text(values))
  end)
  keep_lanes()
  read_lanes()
end

-- Of capacity and duration too, an operator's value stands until it is lifted: the hash settings has override=1 while one
-- of the two does, and override_except names the other one. An instance of an earlier version knows no override_except, and
-- may set the other one: then it is not as instances are configured.

-- Of which of the two limits an operator's value stands: {capacity, duration_ms}, each a boolean.
local function overrides()
  local stored = redis.call('HMGET', settings, 'override', 'override_except')
  local function stands(field)
    local values = redis.call('HMGET', settings, field, 'declared_' .. field)
    return stored[1] == '1' and not (stored[2] == field and (not values[2] or values[1] == values[2]))
  end
  return { capacity = stands('capacity'), duration_ms = stands('duration_ms') }
end

local function write_overrides(of_capacity, of_duration)
  redis.call('HDEL', settings, 'override_except')
  if not of_capacity and not of_duration then
    redis.call('HDEL', settings, 'override')
    return
  end
  write('HSET', settings, 'override', '1')
  if not (of_capacity and of_duration) then
    write('HSET', settings, 'override_except', of_capacity and 'duration_ms' or 'capacity')
  end
end

-- An instance is configured with these settings. Like a limit, they are written only if they differ from what the last
-- instance was configured with.
local function declare_rules()
  local stored = redis.call('HMGET', settings, 'declared_rules', 'operator_rules')
  if stored[1] ~= default_rules or not stored_limits[5] then
    write('HSET', settings, 'declared_rules', default_rules)
    merge_rules(default_rules, stored[2] or '')
  end
end

-- An operator changes settings. lift: first drops what operators have set, but not the moment of opening while users
-- register: with another moment the room might open at once, and that can't be undone.
local function change_rules(text, lift)
  local stored = redis.call('HMGET', settings, 'declared_rules', 'operator_rules')
  local operators = rules_of(stored[2] or '')
  if lift then
    local gathers = rule.opening and rule.opening.phase == 'gathering'
    operators = { opens_at = gathers and operators.opens_at or nil }
  end
  for name, value in string.gmatch(text, '([%w_]+)=(%S*)') do
    operators[name] = value ~= '' and value or nil
  end
  local changed = rules_text(operators)
  write('HSET', settings, 'operator_rules', changed)
  merge_rules(stored[1] or default_rules, changed)
end
