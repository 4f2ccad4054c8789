-- Claim windows: a user promoted from the line must make a gated call within the time claim, or loses the slot. Needs
-- clock, room, lanes, parking and session.
--
-- A window begins with the promotion, and again when the gateway itself answers the first calls with 502, 503 or 504:
-- see reopen.lua. While it runs, the score in claims is when it began. Once calls have passed the gate, the score is how
-- many, negative, up to FIRST_CALLS; the next one ends the record. While an older system is followed there are no
-- windows, because that system ends sessions.
--
-- An instance of an earlier version knows no windows, and ends sessions without a word. So a window counts only if it did
-- not begin before the session, and any activity after its beginning has claimed the slot.

-- Beyond so many calls a failure of one of them does not matter any more.
local FIRST_CALLS = 8

--- @only if rule.claim_ms > 0
-- Whether windows count now.
local function claiming()
  return rule.claim_ms > 0 and not following
end

-- Until when (ms) a user who is allowed in must claim the slot; nil if no window runs.
local function claim_by(user)
  local began = claiming() and number_within(redis.call('ZSCORE', claims, user), 1, EXACT)
  if not began then
    return nil
  end
  local indexed = number_within(redis.call('ZSCORE', activity, user), 0, EXACT)
  local admitted = number_within(redis.call('ZSCORE', since, user), 0, EXACT)
  if not indexed or indexed > began or not admitted or admitted > began then
    close_window(user)
    return nil
  end
  return began + rule.claim_ms
end

-- Ends the session of a user who did not claim the slot in time, and parks the user with the ticket; the second time
-- for the same ticket, or if parked users keep no ticket, the user is removed. A user whom an older system has put in
-- line meanwhile stays there: the first time with the lower of both tickets. Returns whether the session was ended; if so,
-- the caller calls promote before the user returns to the line, so that the next user gets the slot.
local function lapse_if_over(user)
  local by = claim_by(user)
  if not by or by > now then
    return false
  end
  local left = session_left(user)
  if not left or now + left < by then
    -- The session ended before: it expires as any other.
    return false
  end
  local ticket = number_within(redis.call('ZSCORE', tickets, user), -EXACT, EXACT)
  local once = number_within(redis.call('ZSCORE', missed, user), -EXACT, EXACT)
  local score, lane = place_of(user)
  local place = tonumber(score or nil)
  local kept = ticket and ticket ~= once and rule.hold_ms > 0
  end_session(user, by - now)
  done.lapsed = (done.lapsed or 0) + 1
  if kept and place then
    ticket = math.min(ticket, place)
    put_in_lane(lane, user, as_ticket(ticket))
    happened(user, 'RETURNED', ticket)
  elseif kept then
    park(user, as_ticket(ticket), 'UNCLAIMED')
    if lanes then
      assign_lane(user, lane.name)
    end
  elseif not place then
    done.unclaimed = (done.unclaimed or 0) + 1
    happened(user, 'REMOVED', ticket, 'UNCLAIMED')
    tell('UNCLAIMED', { { user, as_ticket(ticket or 0) } })
  end
  if kept then
    write('ZADD', missed, as_ticket(ticket), user)
  end
  return true
end

-- Ends the sessions of the users in ARGV, from index first on, who did not claim their slots in time, before the users
-- return to the line: the next users get the slots. Returns the scores of all these in claims; nil if any of them may have
-- changed.
local function lapse_overdue(first)
  if not claiming() or #ARGV < first then
    return nil
  end
  local lapsed, scores = nil, redis.call('ZMSCORE', claims, unpack(ARGV, first))
  for at, began in ipairs(scores) do
    if began and tonumber(began) > 0 then
      lapsed = lapse_if_over(ARGV[first + at - 1]) or lapsed or false
    end
  end
  if lapsed then
    promote()
  end
  return lapsed == nil and scores or nil
end
--- @end
