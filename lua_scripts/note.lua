-- note: an operator's act that changes nothing in Redis, such as an invitation. Writes its entry of the audit.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] audit   stream, see includes/audit.lua
-- ARGV[5]  act     such as 'invite'
-- ARGV[6]  user    whom it is about; '': no one alone
-- ARGV[7]  what    what was done, for the entry's to
-- ARGV[8]  by      the operator
-- ARGV[9]  reason  the operator's, for the audit; may be empty
--
-- Returns  {summary}
-- Publishes nothing.
--
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include place
--- @include opening
--- @include audit
--- @include summary
local audit, act, user, what, by, reason = KEYS[19], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]

do
  local wrong = unsound_audit(audit, by)
  if wrong then
    return wrong
  end
end
note_change({ audit, by, reason }, act, '', user, '', what)
return { summary(false) }
