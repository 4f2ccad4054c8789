-- open: one bounded step of an opening: puts the next registered users in line, each with the ticket base + rank. The
-- last step opens the room.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] draw    hash, see gather.lua
-- KEYS[20] drawn   string, see gather.lua
-- KEYS[21] watch   hash, see sweep.lua
-- ARGV[5]  value   the moment of opening (ms) that the gateway has read
-- ARGV[6]  digest  of the order that is placed, see rank.lua
-- ARGV[7]  first   how many users were placed before
-- ARGV[8]  kept    seconds for which what is published of the draw is kept
-- ARGV[9…] pairs   user id, and the user's entry of 32 bytes or '' without a draw; by rank, at most 256 pairs
--
-- Returns  {summary, placed}; placed: how many users are placed now; -1: this is not the room's opening, or not its order
-- Publishes ADMITTED for each user promoted.
--
-- Steps may be repeated, by any gateway and in any order: only the one that continues where the last one ended does
-- anything. Users who have left are skipped, and their tickets are not given. Users count as seen at the opening.
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
--- @include summary
local draw, drawn, watch, value, digest = KEYS[19], KEYS[20], KEYS[21], tonumber(ARGV[5]), ARGV[6]
local first, kept = tonumber(ARGV[7]), tonumber(ARGV[8])
local FIRST_PAIR = 9
local opening = rule.opening

do
  local wrong = wrong_type(draw, 'HLEN') or wrong_type(drawn, 'STRLEN') or wrong_type(watch, 'HLEN')
    or wrong_type_of_kept(true)
  if wrong then
    return wrong
  end
  if not limit(value, 0) or not limit(first, 0) or not limit(kept, 1) then
    return bad_argument('value, first, kept')
  end
  if (#ARGV - FIRST_PAIR) % 2 == 0 then
    return bad_argument('pairs')
  end
end

if not opening or not (opening.phase == 'ranked' or opening.phase == 'placing') or opening.value ~= value
  or redis.call('HGET', draw, 'digest') ~= digest then
  return { summary(false), -1 }
end
if opening.placed ~= first then
  return { summary(false), opening.placed }
end

-- pairs_of: ticket and user in turn. Returns how many users were not in line before. A user whom an older system has lined up
-- keeps the lower ticket.
local function place_in_lanes(pairs_of)
  local by_lane, added = {}, 0
  for at = 1, #pairs_of, 2 do
    local lane = lane_of(pairs_of[at + 1])
    local own = by_lane[lane] or {}
    by_lane[lane] = own
    own[#own + 1], own[#own + 2] = pairs_of[at], pairs_of[at + 1]
  end
  for lane, own in pairs(by_lane) do
    local more = write('ZADD', lane.key, 'LT', unpack(own))
    waiting, lane.size, added = waiting + more, lane.size + more, added + more
    count_registered(own[2], -#own / 2)
  end
  return added
end

local function place_users()
  local users, entries = {}, {}
  for at = FIRST_PAIR, #ARGV, 2 do
    users[#users + 1], entries[#entries + 1] = ARGV[at], ARGV[at + 1]
  end
  local numbers = redis.call('ZMSCORE', registered, unpack(users))
  if lanes and #users > 0 then
    look_up_lanes(unpack(users))
  end
  local tickets_of, seen = {}, {}
  for at, user in ipairs(users) do
    if is_present(numbers[at]) then
      tickets_of[#tickets_of + 1], tickets_of[#tickets_of + 2] = as_ticket(opening.base + first + at), user
      seen[#seen + 1], seen[#seen + 2] = now, user
      happened(user, 'JOINED', opening.base + first + at)
    elseif numbers[at] then
      opening.gone = math.max(0, opening.gone - 1)
    end
  end
  if #seen > 0 then
    local added = place_in_lanes(tickets_of)
    write('ZADD', absent, unpack(seen))
    done.lineups = (done.lineups or 0) + added
  end
  write('SETRANGE', drawn, 32 * first, table.concat(entries))
  opening.placed = first + #users
end

local function finish()
  opening.phase, rule.under_way = 'open', false
  redis.call('UNLINK', registered)
  redis.call('EXPIRE', draw, kept)
  redis.call('EXPIRE', drawn, kept)
  -- Until the time for absence has passed once more, no user is parked.
  write('HSET', watch, 'anew_since', string.format('%.0f', now))
  paused = stored_limits[3] == '1' or rule.emptying ~= nil
end

opening.phase = 'placing'
if #ARGV >= FIRST_PAIR then
  place_users()
end
if opening.placed >= opening.size then
  finish()
end
write_opening()
promote()
keep_pace(false)
return { summary(false), opening.placed }
