-- Places in line. Needs clock, room. "The position of this user" is asked here only.

-- 1 is next; nil if not in line.
local function position_of(user)
  local rank = redis.call('ZRANK', line, user)
  return rank and rank + 1
end

-- The user, who is in line, has been seen now. Noted for those with an open stream, too: should their instance
-- turn out to be dead, this is all that tells how long they have been away.
local function sighted(user)
  write('ZADD', absent, now, user)
end

-- If the user is in line, they were seen there then; a later sighting stands.
local function seen_in_line(user, seen_ms)
  if redis.call('ZSCORE', line, user) then
    write('ZADD', absent, 'GT', seen_ms, user)
  end
end

-- Codes of a caller's state; waiting_room/room.py has the same names.
local NONE, WAITING, ALLOWED_IN, ADMITTED, FULL = 0, 1, 2, 3, 4

-- One user's answer: {code, ticket, position, waiting in all, milliseconds left of the session}
local function answer_waiting(ticket, position)
  return { WAITING, tonumber(ticket), position, waiting, 0 }
end

local function answer_inside(code, left)
  return { code, 0, 0, waiting, math.ceil(left) }
end

-- Redis has no memory for one more user.
local function answer_full()
  return { FULL, 0, 0, waiting, 0 }
end

local function answer_none()
  return { NONE, 0, 0, waiting, 0 }
end
