-- Invitations: they let users line up who are not eligible, see lineup.lua. Needs clock, room, lanes, opening, parking, session,
-- claims and promote.
--
-- An invitation is a key of its own, a string: how often it has been used. The key ends with the invitation, so Redis holds
-- no more of them than were used lately. An instance has checked the signature; only how often, and until when, is left.

-- Whether the user holds a slot or a place or is registered, and so was let in before.
local function has_place(user)
  if lapse_if_over(user) then
    promote()
  end
  local left = session_left(user)
  local place = place_of(user)
  return left and left > 0 or place or redis.call('ZSCORE', parked, user)
    or (rule.opening and is_registered(user, place))
end

-- How often the invitation has been used.
local function uses_of(invitation)
  return number_within(redis.pcall('GET', invitation), 0, EXACT) or 0
end

-- Lines up a user who is not eligible. invitation: a key; uses: how often it may be used, 0: the user has none; expires:
-- until when (ms). line_up_invited: lines up a user who is eligible. An invitation is spent with the place that it brings, and
-- not with a refusal.
local function line_up_by(invitation, uses, expires, user, line_up_invited)
  if has_place(user) then
    return line_up_invited(user)
  end
  local used = uses_of(invitation)
  if used >= uses or expires <= now then
    return answer_refused(NOT_ELIGIBLE)
  end
  local answer = line_up_invited(user)
  if answer[1] == WAITING or answer[1] == ADMITTED or answer[1] == REGISTERED then
    write('SET', invitation, string.format('%.0f', used + 1), 'PX', string.format('%.0f', expires - now))
  end
  return answer
end
