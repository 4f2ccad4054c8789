-- sweep: one bounded step of a room's regular work. It ends expired and unclaimed sessions, parks absent users, removes
-- users who were parked for too long, admits the next users, and slowly scans for users who are missing from the index
-- or in two keys.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] watch         hash: swept_at, anew_since (ms), cursor, parked_cursor, claims_cursor, history_cursor and
--                        lanes_cursor (of the slow scans), and what includes/minutes.lua adds
-- KEYS[20] lineups       hash, see includes/lineups.lua
-- KEYS[21] last_lineups  zset, likewise
-- KEYS[22] minutes       zset, see includes/minutes.lua
-- ARGV[5]  scan          how many entries of the hash to scan in this step; 0: none
-- ARGV[6]  follow        whether an older system is followed: 'auto', 'on' or 'off'; see includes/older.lua
-- ARGV[7]  follow_ms     milliseconds after its last sign for which it counts as running
--
-- Returns  {summary}
-- Publishes ABSENT, UNCLAIMED, SOLD_OUT or OPERATOR for each user removed, ADMITTED for each user promoted.
--
-- If no sweep ran for 5 s, users could not be seen during that time: no user is parked or removed until the time for
-- absence has passed once more. While an older system is followed, sessions don't end here, no user is parked or removed
-- as absent, and only users are admitted whom a gateway can notify.
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
--- @include closing
--- @include promote
--- @include claims
--- @include older
--- @include doors
--- @include lineups
--- @include minutes
--- @include summary
local watch, lineups, last_lineups, minutes = KEYS[19], KEYS[20], KEYS[21], KEYS[22]
local log = { lineups, last_lineups }
local scan = tonumber(ARGV[5])
local follow, follow_ms = ARGV[6], tonumber(ARGV[7])
-- Marks that are kept: one per second, for nearly three hours of waiting.
local MARKS = 10000

do
  local wrong = wrong_type(watch, 'HLEN') or wrong_type_of_kept(true) or unsound_log(log) or wrong_type(minutes, 'ZCARD')
  if wrong then
    return wrong
  end
  if not scan then
    return bad_argument('scan')
  end
  if not ({ auto = true, on = true, off = true })[follow] or not limit(follow_ms, 1) then
    return bad_argument('follow, follow_ms')
  end
end

-- The time since when the gateways could have seen every user. anew: no gateway swept until now.
local function watching_since(anew)
  local anew_since = number_within(redis.call('HGET', watch, 'anew_since'), 0, now)
  write('HSET', watch, 'swept_at', string.format('%.0f', now))
  -- A user may have a stream at the older system, where the gateways can't see it.
  if not anew and anew_since and not following then
    return anew_since
  end
  write('HSET', watch, 'anew_since', string.format('%.0f', now))
  return now
end

-- When another system last wrote a session that the scan found, in milliseconds; 0: none. A session written by a
-- gateway is in the index as well.
local written_ms = 0

local function note_writing(second, indexed)
  local by_hash, by_index = number_within(second, 0, now / 1000), number_within(indexed, 0, math.huge) or -1
  if by_hash and by_hash > math.floor(by_index / 1000) then
    written_ms = math.max(written_ms, by_hash * 1000)
  end
end

-- Adds the index entries that users of the hash lack, and removes these users from the line.
local function index_users(users, seconds)
  local indexed = redis.call('ZMSCORE', activity, unpack(users))
  local places = places_of(users)
  for at, user in ipairs(users) do
    note_writing(seconds[at], indexed[at])
    local last = last_activity(user, seconds[at], indexed[at])
    if tonumber(indexed[at]) ~= last then
      write('ZADD', activity, last, user)
    end
    local left = remaining(last, began_at(user))
    if places[at] and left > 0 then
      settle(user, left)
    end
  end
end

local function scan_hash()
  local cursor = redis.call('HGET', watch, 'cursor') or '0'
  if #cursor > 15 or not string.match(cursor, '^%d+$') then
    cursor = '0'
  end
  local page = redis.call('HSCAN', inside, cursor, 'COUNT', scan)
  write('HSET', watch, 'cursor', page[1])
  local users, seconds = {}, {}
  for at = 1, #page[2], 2 do
    users[#users + 1] = page[2][at]
    seconds[#seconds + 1] = page[2][at + 1]
    if #users == 1000 then
      index_users(users, seconds)
      users, seconds = {}, {}
    end
  end
  if #users > 0 then
    index_users(users, seconds)
  end
end

-- A parked user whom another system has admitted or lined up again is parked no longer. Returns whether it was so.
local function settle_parked(user)
  local left = session_left(user)
  if left and left > 0 then
    settle(user, left)
    return true
  end
  return place_of(user) and come_back(user) or false
end

-- Looks at some parked users, as scan_hash does at those in the hash. A moment in the future becomes now.
local function scan_parked()
  local cursor = redis.call('HGET', watch, 'parked_cursor') or '0'
  if #cursor > 20 or not string.match(cursor, '^%d+$') then
    cursor = '0'
  end
  local page = redis.call('ZSCAN', parked, cursor, 'COUNT', scan)
  write('HSET', watch, 'parked_cursor', page[1])
  for at = 1, #page[2], 2 do
    local user = page[2][at]
    if not settle_parked(user) and tonumber(page[2][at + 1]) > now then
      write('ZADD', parked, now, user)
    end
  end
end

-- Ends at most `most` expired sessions. Returns how many index entries it examined.
local function expire(most)
  if most <= 0 then
    return 0
  end
  local users = redis.call('ZRANGEBYSCORE', activity, '-inf', now - duration, 'LIMIT', 0, most)
  if rule.max_session > 0 and #users < most then
    local found = {}
    for _, user in ipairs(users) do
      found[user] = true
    end
    local old = redis.call('ZRANGEBYSCORE', since, '-inf', now - rule.max_session, 'LIMIT', 0, most - #users)
    for _, user in ipairs(old) do
      if not found[user] then
        users[#users + 1] = user
      end
    end
  end
  if #users == 0 then
    return 0
  end
  local seconds = redis.call('HMGET', inside, unpack(users))
  local indexed = redis.call('ZMSCORE', activity, unpack(users))
  local over, ends, orphans = {}, {}, {}
  for at, user in ipairs(users) do
    local last = last_activity(user, seconds[at], indexed[at])
    if not last then
      orphans[#orphans + 1] = user
    else
      local left = remaining(last, began_at(user))
      if left > 0 then
        write('ZADD', activity, last, user)
      else
        over[#over + 1] = user
        ends[#ends + 1] = now + left
      end
    end
  end
  if #orphans > 0 then
    redis.call('ZREM', activity, unpack(orphans))
    redis.call('ZREM', since, unpack(orphans))
  end
  if #over > 0 then
    for at, began in ipairs(redis.call('ZMSCORE', since, unpack(over))) do
      note_stay(began, ends[at])
    end
    for _, user in ipairs(over) do
      close_window(user)
      happened(user, 'EXPIRED')
    end
    redis.call('HDEL', inside, unpack(over))
    redis.call('ZREM', since, unpack(over))
    redis.call('ZREM', activity, unpack(over))
    held = held - #over
    done.expired = (done.expired or 0) + #over
  end
  return #users
end

-- Ends the sessions of at most MOST users who did not claim their slots in time. Returns how many windows it examined.
local function end_unclaimed()
  if rule.claim_ms == 0 then
    return 0
  end
  local users = redis.call('ZRANGEBYSCORE', claims, 1, now - rule.claim_ms, 'LIMIT', 0, MOST)
  for _, user in ipairs(users) do
    if not lapse_if_over(user) then
      -- Nothing came of it: the session had ended before. Otherwise the next sweep would look at the same users again.
      close_window(user)
    end
  end
  return #users
end

-- Without claim, or beside an older system, no windows run. What there is of them goes, MOST at a time.
local function drop_windows()
  if (rule.claim_ms > 0 and not following) or redis.call('EXISTS', claims, missed) == 0 then
    return
  end
  local users = redis.call('ZRANGE', claims, 0, MOST - 1)
  for _, user in ipairs(users) do
    redis.call('ZREM', claims, user)
    if not redis.call('ZSCORE', parked, user) then
      redis.call('ZREM', tickets, user)
    end
  end
  redis.call('ZREMRANGEBYRANK', missed, 0, MOST - 1)
end

-- Looks at some users in claims, as scan_hash does at those in the hash: an earlier version ends sessions, and leaves
-- these entries.
local function scan_claims()
  local cursor = redis.call('HGET', watch, 'claims_cursor') or '0'
  if #cursor > 20 or not string.match(cursor, '^%d+$') then
    cursor = '0'
  end
  local page = redis.call('ZSCAN', claims, cursor, 'COUNT', scan)
  write('HSET', watch, 'claims_cursor', page[1])
  for at = 1, #page[2], 2 do
    if not redis.call('HGET', inside, page[2][at]) then
      close_window(page[2][at])
    end
  end
end

-- Looks at a few users in history, as scan_hash does at those in the hash: an older system ends slots and places without
-- a word.
local function scan_history()
  local cursor = redis.call('HGET', watch, 'history_cursor') or '0'
  if #cursor > 20 or not string.match(cursor, '^%d+$') then
    cursor = '0'
  end
  local page = redis.call('HSCAN', history, cursor, 'COUNT', math.ceil(scan / 5))
  write('HSET', watch, 'history_cursor', page[1])
  local users = {}
  for at = 1, #page[2], 2 do
    if #users < 2 * MOST and string.sub(page[2][at + 1], -1) ~= ';' then
      users[#users + 1] = page[2][at]
    end
  end
  if #users == 0 then
    return
  end
  local seconds, places = redis.call('HMGET', inside, unpack(users)), places_of(users)
  local gathered = rule.opening and redis.call('ZMSCORE', registered, unpack(users)) or {}
  for at, kept in ipairs(redis.call('ZMSCORE', parked, unpack(users))) do
    if not (seconds[at] or places[at] or kept or gathered[at]) then
      happened(users[at], 'REMOVED', 0, 'ELSEWHERE')
    end
  end
end

-- Looks at some users with a lane, as scan_hash does at those in the hash: those who have no place there and none to come
-- back to, because another system has ended it, belong to no lane.
local function scan_lanes()
  local cursor = redis.call('HGET', watch, 'lanes_cursor') or '0'
  if #cursor > 20 or not string.match(cursor, '^%d+$') then
    cursor = '0'
  end
  local page = redis.call('HSCAN', lanes.hash, cursor, 'COUNT', scan)
  write('HSET', watch, 'lanes_cursor', page[1])
  for at = 1, #page[2], 2 do
    local user = page[2][at]
    local lane = lane_of(user)
    if lane.key == line or not (redis.call('ZSCORE', lane.key, user) or redis.call('ZSCORE', tickets, user)
      or rule.opening and redis.call('ZSCORE', registered, user)) then
      leave_lane(user)
    end
  end
end

-- Moves at most MOST users of each lane that is no longer configured to lane default, with their tickets, and drops lanes
-- that have no users any more. Returns how many users it moved.
local function close_lanes()
  local default, moved, kept = lanes.default, 0, {}
  for nth = 1, #lanes - 1 do
    local lane = lanes[nth]
    if lane.weight == 0 and lane.size > 0 then
      local head = redis.call('ZRANGE', lane.key, 0, MOST - 1, 'WITHSCORES')
      local users, places = {}, {}
      for at = 1, #head, 2 do
        users[#users + 1] = head[at]
        places[at], places[at + 1] = head[at + 1], head[at]
        happened(head[at], 'MOVED', head[at + 1], 'LANE')
      end
      local fewer = redis.call('ZREM', lane.key, unpack(users))
      local more = write('ZADD', line, 'LT', unpack(places))
      for _, user in ipairs(users) do
        lanes.changes[user], lanes.entered[user], lanes.known[user] = false, false, default
      end
      lane.size, default.size, waiting = lane.size - fewer, default.size + more, waiting + more - fewer
      moved = moved + #users
    end
    if lane.weight > 0 or lane.size > 0 then
      kept[#kept + 1] = string.format('%s:%.0f', lane.name, lane.weight)
    else
      -- Users who are registered for it are so for lane default from now on.
      redis.call('HDEL', settings, 'registered:' .. lane.name)
    end
  end
  if #kept == #lanes - 1 then
    return moved
  end
  local text = #kept > 0 and 'lanes=' .. table.concat(kept, ',') or ''
  keep_lanes()
  write_rules((string.gsub(string.gsub(rules, 'lanes=%S+', text), '^ *(.-) *$', '%1')))
  if #kept == 0 then
    redis.call('UNLINK', lanes.hash)
    redis.call('HDEL', pace, 'owed')
  end
  read_lanes()
  return moved
end

-- Forgets what happened to users whose slot or place ended long ago, and to the first ones of more than MOST_ENDED such
-- users, MOST at a time; everything if no history is kept. Without the second bound, a client could fill Redis: it lines up
-- and leaves again and again, each time as a new visitor. Returns how many users it examined.
local MOST_ENDED = 500000
local function forget_ended()
  if rule.history_ms == 0 then
    redis.call('UNLINK', history, ended)
    return 0
  end
  local old = redis.call('ZCOUNT', ended, '-inf', now - rule.history_ms)
  local count = math.min(MOST, math.max(old, redis.call('ZCARD', ended) - MOST_ENDED))
  local users = count > 0 and redis.call('ZRANGE', ended, 0, count - 1) or {}
  if #users > 0 then
    redis.call('HDEL', history, unpack(users))
    redis.call('ZREM', ended, unpack(users))
  end
  return #users
end

-- Parks at most `most` waiting users who were not seen for too long, or removes them if parked users keep no ticket.
-- Returns how many users it examined.
local function part_with_absent(watching, most)
  if rule.under_way or rule.emptying or rule.absent_ms == 0 or now - watching < rule.absent_ms or most <= 0 then
    return 0
  end
  local users = redis.call('ZRANGEBYSCORE', absent, '-inf', now - rule.absent_ms, 'LIMIT', 0, most)
  if #users == 0 then
    return 0
  end
  local present = redis.call('HMGET', streams, unpack(users))
  -- A user with a stream is recorded again when it closes; a user who is no longer in line needs no record.
  redis.call('ZREM', absent, unpack(users))
  local people = {}
  for at, user in ipairs(users) do
    local left = session_left(user)
    if left and left > 0 then
      settle(user, left)
    elseif not present[at] then
      local ticket = leave_line(user)
      if ticket and rule.hold_ms > 0 then
        park(user, ticket, 'ABSENT')
      elseif ticket then
        people[#people + 1] = { user, ticket }
        happened(user, 'REMOVED', ticket, 'ABSENT')
        forget_place(user)
      end
    end
  end
  done.evicted = (done.evicted or 0) + #people
  tell('ABSENT', people)
  return #users
end

-- Removes at most `most` users who were parked for too long. Returns how many users it examined.
local function end_holds(watching, most)
  if parked_count == 0 or now - watching < rule.absent_ms or most <= 0 then
    return 0
  end
  local users = redis.call('ZRANGEBYSCORE', parked, '-inf', now - rule.hold_ms, 'LIMIT', 0, most)
  local people = {}
  for _, user in ipairs(users) do
    if not settle_parked(user) then
      local ticket = leave_line(user)
      people[#people + 1] = { user, ticket }
      happened(user, 'REMOVED', ticket, 'ABSENT')
      forget_place(user)
    end
  end
  done.evicted = (done.evicted or 0) + #people
  tell('ABSENT', people)
  return #users
end

-- Records that no higher ticket has been given so far, and deletes marks that no ticket in line needs. Of two sweeps in
-- one millisecond the first counts: the tickets between them were given within it.
local function set_mark(ticket)
  local text = string.format('%.0f', ticket)
  redis.call('ZREMRANGEBYSCORE', marks, text, '+inf')
  write('ZADD', marks, 'NX', text, string.format('%.0f', now))
  local head = redis.call('ZRANGE', line, 0, 0, 'WITHSCORES')
  local first = head[2]
  for nth = 1, lanes and #lanes - 1 or 0 do
    local of_lane = redis.call('ZRANGE', lanes[nth].key, 0, 0, 'WITHSCORES')
    if of_lane[2] and tonumber(of_lane[2]) < tonumber(first or EXACT) then
      first = of_lane[2]
    end
  end
  local oldest = redis.call('ZREVRANGEBYSCORE', marks, '(' .. (first or '+inf'), '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if oldest[2] then
    redis.call('ZREMRANGEBYSCORE', marks, '-inf', '(' .. oldest[2])
  end
  redis.call('ZREMRANGEBYRANK', marks, 0, -1 - MARKS)
end

keep_minute(watch, minutes)
local anew = not swept_lately(watch)
-- Before the scan, which adds every user to the index.
local unknown = anew and strangers()
if scan > 0 then
  scan_hash()
  if parked_count > 0 then
    scan_parked()
  end
  if rule.claim_ms > 0 then
    scan_claims()
  end
  if rule.history_ms > 0 then
    scan_history()
  end
  if lanes then
    scan_lanes()
  end
end
judge(follow, follow_ms, anew, unknown, written_ms)
local watching = watching_since(anew)
local future = redis.call('ZRANGEBYSCORE', activity, '(' .. string.format('%.0f', now), '+inf', 'LIMIT', 0, MOST)
for _, user in ipairs(future) do
  write('ZADD', activity, now, user)
end
drop_windows()
local looked = 0
if not following then
  -- Before expiry, because a window ends before the session does.
  looked = end_unclaimed()
  looked = looked + expire(MOST - looked)
  looked = looked + end_holds(watching, MOST - looked)
  looked = looked + part_with_absent(watching, MOST - looked)
end
close_if_due()
looked = looked + end_places(MOST - looked)
local moved = lanes and close_lanes() or 0
promote()
-- After promoting, so that users who are admitted now are published with the ticket that they were last shown.
set_mark(highest_ticket())
keep_pace(true)
-- Once a second, so that the other calls go on believing it.
sessions_changed = true
local forgotten = math.max(forget_ended(), forget_lineups(log))
return { summary(looked >= MOST or #future >= MOST or forgotten >= MOST or moved >= MOST) }
