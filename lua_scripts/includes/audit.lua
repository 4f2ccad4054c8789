-- The audit: what operators have changed, in a bounded stream. A change and its entry are written by the same script.
-- Needs clock and room.
--
-- An entry has the fields at (epoch millisecond), by (the operator), act, setting, user, from, to and reason. setting
-- and the values are as in the hash settings; a value is '' if nothing but the built-in default holds.

-- Entries that are kept for a room; older ones are dropped.
local MOST_ENTRIES = 1000

-- The error reply if an operator's change can't be written, else nil. Tested before the first write.
local function unsound_audit(audit, by)
  if (by or '') == '' then
    return bad_argument('by')
  end
  return wrong_type(audit, 'XLEN')
end

-- order: {stream, operator, reason}; user and setting: '' for none.
local function note_change(order, act, setting, user, from, to)
  write('XADD', order[1], 'MAXLEN', string.format('%.0f', MOST_ENTRIES), '*', 'at', string.format('%.0f', now),
    'by', order[2], 'act', act, 'setting', setting, 'user', user, 'from', from, 'to', to, 'reason', order[3])
end
