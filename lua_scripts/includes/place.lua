-- Places in line. Needs clock, room and lanes. Only this file computes the position of a user.

-- Of a user who waits in this lane; 1 is next.
local function position_in(lane, user)
  return redis.call('ZRANK', lane.key, user) + 1
end

-- Records that a user in line has been seen now. Users with an open stream are recorded, too: if their instance turns
-- out to be dead, this is the only record of how long they have been absent.
local function sighted(user)
  write('ZADD', absent, now, user)
end

-- Records that all users who have joined the line in this call were seen now, with one command. The list rule.joined holds
-- moments and users. Scripts call this function at their end, and before they take users out of the line.
local function keep_joined()
  if rule.joined and #rule.joined > 0 then
    write('ZADD', absent, unpack(rule.joined))
    rule.joined = {}
  end
end

-- If the user is in line, records that the user was seen at seen_ms; a later sighting stands.
local function seen_in_line(user, seen_ms)
  if place_of(user) then
    write('ZADD', absent, 'GT', seen_ms, user)
  end
end

-- Codes of a caller's state; waiting_room/state.py has the same names.
local NONE, WAITING, ALLOWED_IN, ADMITTED, FULL, ROOM_FULL, TOO_MANY_LINEUPS, NOT_ELIGIBLE = 0, 1, 2, 3, 4, 5, 6, 7
local REGISTERED, CLOSED, UNPREPARED, SOLD_OUT = 8, 9, 10, 11

-- One user's answer: {code, ticket, position, waiting in the same lane, milliseconds left of the session, or until the user
-- may line up again; of a user in line 0, or what the script says}. A sixth element is until when (ms) a user who is allowed
-- in must claim the slot, or -1: the gated call was one of the first that may claim it. Of a user in line it is the number of
-- the lane, if there are lanes.

--- @only if timed
-- While an opening places the registered users, those who are still to be placed count, too: they will be in line
-- before users who lined up after the close. Those who have left by then don't count.
local function unplaced()
  return rule.under_way and math.max(0, rule.opening.size - rule.opening.placed - rule.opening.gone) or 0
end
--- @end

-- ticket: as text or as a number. position: in the lane.
local function answer_waiting(lane, ticket, position)
  local size = lane.size
  if rule.under_way then
    local all = unplaced()
    local ahead = registered_for(lane, all) or all
    if tonumber(ticket) > rule.opening.base then
      position = position + ahead
    end
    size = size + ahead
  end
  return { WAITING, tonumber(ticket), position, size, 0, lane.number }
end

local function answer_inside(code, left, must_claim)
  return { code, 0, 0, waiting, math.ceil(left), must_claim }
end

-- A lineup is refused. wait: milliseconds until the user may line up again, where known.
local function answer_refused(code, wait)
  return { code, 0, 0, waiting, wait or 0 }
end

--- @only if timed
-- opens_at: in ms; salt_key: what the user's salt is made of, where it is asked for and there is a draw. With lanes an eighth
-- element is the number of the user's.
local function answer_registered(user, count, opens_at, salt_key)
  return { REGISTERED, 0, 0, count, 0, opens_at, salt_key or lanes and '' or nil, lane_of(user).number }
end
--- @end

--- @only if timed or rule.closed
-- The room takes no lineups. opens_at: when it opens, in ms; 0: no moment is set. gathers_at: when its pre-queue begins, if
-- there is one ahead.
local function answer_closed(opens_at, gathers_at)
  return { CLOSED, 0, 0, waiting, 0, opens_at, gathers_at }
end
--- @end

local function answer_none()
  return { NONE, 0, 0, waiting, 0 }
end
