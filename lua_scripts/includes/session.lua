-- Sessions: which users are allowed in, and since when. Needs clock, room, lanes, history, place, opening and parking.

-- The user's last activity in milliseconds, the later of hash and index; nil if the user is not in the hash.
-- The hash decides whether a user is allowed in. Older systems write only the hash, in whole seconds, so the hash wins
-- where it is newer than the index. A time in the future (from a clock that was ahead) becomes now, and so does an
-- unusable time. Both keys are then corrected.
local function last_activity(user, second, indexed)
  if not second then
    return nil
  end
  local by_hash, by_index = number_within(second, 0, math.huge), number_within(indexed, 0, math.huge)
  local last
  if by_index and math.floor(by_index / 1000) >= math.floor(by_hash or 0) then
    last = by_index
  else
    last = by_hash and by_hash * 1000
  end
  if last and last <= now and by_hash then
    return last
  end
  last = math.min(last or now, now)
  write('HSET', inside, user, string.format('%.0f', math.floor(last / 1000)))
  write('ZADD', activity, last, user)
  return last
end

--- @only if rule.max_session > 0
-- When a user's session began, if sessions may not last longer than max_session; else nil. A session that another system
-- began counts from now on. The user must be in the hash.
local function began_at(user)
  if rule.max_session == 0 then
    return nil
  end
  local began = number_within(redis.call('ZSCORE', since, user), 0, now)
  if not began then
    began = now
    write('ZADD', since, now, user)
    sessions_changed = true
  end
  return began
end
--- @end

-- Milliseconds left of a session by its last activity and, if there is an absolute end, by when it began; 0 or less: it
-- has expired. While an older system is followed, a session lasts until that system's sweep ends it. Only a session given
-- up here (last activity 0, see hand_over) ends earlier.
local function remaining(last, began)
  local left = duration - (now - last)
  if began then
    left = math.min(left, rule.max_session - (now - began))
  end
  if following and left <= 0 and last > 0 then
    return 1
  end
  return left
end

-- Milliseconds left of the user's session (0 or less: expired, but not swept yet); nil if the user is not allowed in.
local function session_left(user)
  local second = redis.call('HGET', inside, user)
  if not second then
    return nil
  end
  return remaining(last_activity(user, second, redis.call('ZSCORE', activity, user)), began_at(user))
end

-- Records the length of a session that is over. began: nil or unusable if not known; then nothing is recorded.
local function note_stay(began, finished)
  began = began and number_within(began, 0, finished)
  if began then
    stays[#stays + 1] = finished - began
  end
end

local function begin_session(user)
  write('HSET', inside, user, string.format('%.0f', math.floor(now / 1000)))
  write('ZADD', activity, now, user)
  write('ZADD', since, now, user)
  sessions_changed = true
  held = held + 1
  done.admitted = (done.admitted or 0) + 1
  happened(user, 'ADMITTED')
end

--- @only if rule.claim_ms > 0
-- The user no longer has to claim a slot, see includes/claims.lua. A parked user keeps the ticket.
local function close_window(user)
  if rule.claim_ms == 0 then
    return
  end
  if redis.call('ZREM', claims, user) == 1 and not redis.call('ZSCORE', parked, user) then
    redis.call('ZREM', tickets, user)
    if lanes and not place_of(user) then
      leave_lane(user)
    end
  end
  redis.call('ZREM', missed, user)
end
--- @end

-- left: milliseconds that were left of the session. An expired session ended when it expired, not when that was found.
local function end_session(user, left)
  note_stay(redis.call('ZSCORE', since, user), now + math.min(left, 0))
  close_window(user)
  redis.call('HDEL', inside, user)
  redis.call('ZREM', since, user)
  sessions_changed = true
  redis.call('ZREM', activity, user)
  held = held - 1
end

-- The user gives up the slot, but it stays taken until the older system's sweep finds it expired and gives it to the
-- next user in line, whom only that system can notify. If the slot were free, that system would give it to a new user.
local function hand_over(user, left)
  note_stay(redis.call('ZSCORE', since, user), now + math.min(left, 0))
  write('HSET', inside, user, '0')
  redis.call('ZREM', since, user)
  sessions_changed = true
  redis.call('ZREM', activity, user)
end

-- Removes a user from the line, also a parked or a registered one. Returns the ticket as text, which is '0' for a
-- registered user, or nil if the user was none of these.
local function leave_line(user)
  keep_joined()
  local score = place_of(user)
  local parked_before = parked_count
  local kept = unpark(user)
  local gathered = rule.opening and withdraw(user)
  if score then
    take_out(user)
    redis.call('ZREM', absent, user)
    return as_ticket(kept and math.min(kept, tonumber(score)) or score)
  end
  return (parked_count < parked_before or gathered) and as_ticket(kept or 0) or nil
end

--- @only if rule.claim_ms > 0
-- A user who has left the line, or has a new ticket, has not missed a window for it.
local function forget_missed(user)
  if rule.claim_ms > 0 then
    redis.call('ZREM', missed, user)
  end
end
--- @end

-- The user has lost the place for good.
local function forget_place(user)
  forget_missed(user)
  leave_lane(user)
end

-- A user in both line and hash is allowed in: removes the line entry and notifies the user's streams.
-- left: milliseconds left of the session.
local function settle(user, left)
  local ticket = leave_line(user)
  if ticket then
    done.promoted = (done.promoted or 0) + 1
    happened(user, 'PROMOTED', ticket)
    leave_lane(user)
    tell('ADMITTED', { { user, ticket } }, left)
  end
end
