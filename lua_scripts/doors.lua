-- doors: an operator closes a room, reopens it, says that it is sold out, or removes all users from the line.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] audit  stream, see includes/audit.lua
-- ARGV[5]  act    'close', 'reopen', 'sold_out' or 'empty'
-- ARGV[6]  till   to close until this moment (epoch ms); '' until an operator reopens the room
-- ARGV[7]  by     the operator's name
-- ARGV[8]  why    the operator's reason, or ''
--
-- Returns  {summary}
-- Publishes SOLD_OUT or OPERATOR for each user who has lost the place, ADMITTED for each user promoted.
--
-- A closed room goes on admitting the users in line. Reopening undoes closing and selling out, and does not lift a pause;
-- users who lost their places by then don't get them back. Users who are allowed in stay in any case.
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
--- @include doors
--- @include audit
--- @include summary
local audit, act, till, by, why = KEYS[19], ARGV[5], ARGV[6], ARGV[7], ARGV[8]

do
  local wrong = unsound_audit(audit, by) or wrong_type_of_kept(true)
  if wrong then
    return wrong
  end
end
if not ({ close = true, reopen = true, sold_out = true, empty = true })[act] then
  return bad_argument('act')
end
if till ~= '' and (act ~= 'close' or not limit(till, 0)) then
  return bad_argument('till')
end

local function state()
  if rule.sold_out then
    return 'sold out'
  end
  return rule.closed and (rule.closed_until > 0 and 'closed until ' .. as_ticket(rule.closed_until) or 'closed') or 'open'
end

local before, values = state(), rules_of(stored_limits[7] or '')
local places = waiting + parked_count + registered_count()
if act == 'close' then
  values.closed, values['until'] = '1', till ~= '' and as_ticket(till) or nil
elseif act == 'reopen' then
  values.closed, values['until'], values.sold_out = nil, nil, nil
elseif act == 'sold_out' then
  values.sold_out = '1'
else
  values.emptying, values.emptied_at = as_ticket(highest_ticket()), as_ticket(now)
  values.emptied_number = redis.call('HGET', settings, 'registrations') or '0'
end
-- Before it takes effect, for the reasons given in limits.lua.
keep_pace(true)
write_doors(values)
if act == 'empty' then
  note_change({ audit, by, why }, act, '', '', string.format('%.0f', places), '0')
else
  note_change({ audit, by, why }, act, '', '', before, state())
end
end_places(MOST)
promote()
return { summary(rule.emptying ~= nil and waiting + parked_count + may_withdraw() > 0) }
