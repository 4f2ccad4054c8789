-- Places in line. Needs clock, room. Only this file computes the position of a user.

-- 1 is next; nil if not in line.
local function position_of(user)
  local rank = redis.call('ZRANK', line, user)
  return rank and rank + 1
end

-- Records that a user in line has been seen now. Users with an open stream are recorded, too: if their instance turns
-- out to be dead, this is the only record of how long they have been absent.
local function sighted(user)
  write('ZADD', absent, now, user)
end

-- If the user is in line, records that the user was seen at seen_ms; a later sighting stands.
local function seen_in_line(user, seen_ms)
  if redis.call('ZSCORE', line, user) then
    write('ZADD', absent, 'GT', seen_ms, user)
  end
end

-- Codes of a caller's state; waiting_room/state.py has the same names.
local NONE, WAITING, ALLOWED_IN, ADMITTED, FULL, ROOM_FULL, TOO_MANY_LINEUPS, NOT_ELIGIBLE = 0, 1, 2, 3, 4, 5, 6, 7
local REGISTERED, CLOSED, UNPREPARED, SOLD_OUT = 8, 9, 10, 11

-- One user's answer: {code, ticket, position, waiting in all, milliseconds left of the session, or until the user may line
-- up again}. A sixth element is until when (ms) a user who is allowed in must claim the slot; -1: the gated call was one of
-- the first that may claim it.
-- While an opening places the registered users, those who are still to be placed count, too: they will be in line
-- before users who lined up after the close. Those who have left by then don't count.
local function unplaced()
  return rule.under_way and math.max(0, rule.opening.size - rule.opening.placed - rule.opening.gone) or 0
end

local function answer_waiting(ticket, position)
  if not rule.under_way then
    return { WAITING, tonumber(ticket), position, waiting, 0 }
  end
  local ahead = unplaced()
  if tonumber(ticket) > rule.opening.base then
    position = position + ahead
  end
  return { WAITING, tonumber(ticket), position, waiting + ahead, 0 }
end

local function answer_inside(code, left, claim)
  return { code, 0, 0, waiting, math.ceil(left), claim }
end

-- A lineup is refused. wait: milliseconds until the user may line up again, where known.
local function answer_refused(code, wait)
  return { code, 0, 0, waiting, wait or 0 }
end

-- opens_at: in ms; salt_key: what the user's salt is made of, where it is asked for and there is a draw.
local function answer_registered(count, opens_at, salt_key)
  return { REGISTERED, 0, 0, count, 0, opens_at, salt_key }
end

-- The room takes no lineups. opens_at: when it opens, in ms; 0: no moment is set. gathers_at: when its pre-queue begins, if
-- there is one ahead.
local function answer_closed(opens_at, gathers_at)
  return { CLOSED, 0, 0, waiting, 0, opens_at, gathers_at }
end

local function answer_none()
  return { NONE, 0, 0, waiting, 0 }
end
