-- The part that every script of a room begins with: its keys by name, its limits, its numbers.
--
-- KEYS[1]  line      zset    user -> ticket; the users who wait
-- KEYS[2]  inside    hash    user -> epoch second of the last gated request; the users who are allowed in
-- KEYS[3]  counter   string  the last ticket given
-- KEYS[4]  settings  hash    capacity, duration_ms, paused, schema, rules (and what limits.lua, configure.lua and
--                            older.lua add)
-- KEYS[5]  activity  zset    user -> epoch millisecond of the last gated request; an index of inside
-- KEYS[6]  absent    zset    user -> epoch millisecond of the last sighting, of users who wait; a stream adds none
-- KEYS[7]  streams   hash    user -> number of instances at which the user has an open stream
-- KEYS[8]  pace      hash    how fast the line moves: admissions, slot_ms, departures, waited_ms, at, rate,
--                            abandon_rate, still_ms, sessions (and what rate.lua adds); wait:<class>: how many users admitted
--                            from the line had waited so long, ever, see summary.lua; error:<class>: how
--                            many streams' first estimates were so far off, ever, see beat.lua
-- KEYS[9]  tally     hash    totals ever: admitted, expired, evicted, …
-- KEYS[10] since     zset    user -> epoch millisecond of the admission, of users allowed in; not from older systems
-- KEYS[11] marks     zset    epoch millisecond -> the highest ticket then, about one per second of the line
-- KEYS[12] parked    zset    user -> epoch millisecond of parking; users in line who are absent, see includes/parking.lua
-- KEYS[13] tickets   zset    user -> ticket, of parked users and of users in claims
-- KEYS[14] claims    zset    user -> epoch millisecond at which the claim window began, or, once calls have used it, how
--                            many, negative; users promoted from the line, see includes/claims.lua
-- KEYS[15] missed    zset    user -> ticket for which a claim window has passed unused
-- KEYS[16] history   hash    user -> what happened to the user, as text; see includes/history.lua
-- KEYS[17] ended     zset    user -> epoch millisecond at which slot or place ended, of users in history without either
-- KEYS[18] registered  zset  user -> number of the registration; users in a pre-queue, see includes/opening.lua
-- ARGV[1]  channel           the pub/sub channel of the events
-- ARGV[2]  default_capacity  slots; used, and then written, if Redis holds no usable limit. With a + before it, the room
--                            must have been made by configure.lua
-- ARGV[3]  default_duration  milliseconds; likewise
-- ARGV[4]  default_rules     the other settings, as text; likewise. See rules_of
--
-- Fails before the first write if a key holds another type ('WRONGTYPE_KEY <key>') or an argument is unusable
-- ('BAD_ARGUMENT <name>'). If the room must have been made and has not been: 'NO_SUCH_ROOM'.
local line, inside, counter, settings, activity, absent, streams, pace, tally, since, marks, parked, tickets =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local claims, missed, history, ended, registered = KEYS[14], KEYS[15], KEYS[16], KEYS[17], KEYS[18]
local channel, default_capacity, default_duration, default_rules = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

-- The number of the form in which a room's keys are. Redis keeps it in settings. An instance that knows only a lower
-- number must not start; see configure.lua.
local SCHEMA = 2

-- One call removes at most so many slots or places, and admits at most so many users: this bounds how long Redis is
-- blocked.
local MOST = 256

-- In a call with at most so many users, looking up each user costs less than looking up all of them together.
local FEW = 3

-- In place of the functions of a feature that the room does not use. A section of an include that begins with
-- '--- @only if' and ends with '--- @end' defines its functions only if that holds. A script defines the functions that it
-- names in lines '--- @rarely' only in a call that uses one of them. See gateway/waiting_room/scripts.py, which also puts
-- the elements of KEYS in place of their names.
local function skip()
end

local function bad_argument(name)
  return redis.error_reply('BAD_ARGUMENT ' .. name)
end

-- Whether ARGV, from index first on, consists of pairs that each begin with one of these words. words: a set.
local function all_pairs(first, words)
  for at = first, #ARGV, 2 do
    if not words[ARGV[at]] then
      return false
    end
  end
  return (#ARGV - first) % 2 == 1
end

-- The error reply if a read of this key has failed, else nil. reply: what redis.pcall returned.
local function failed_read(key, reply)
  if type(reply) ~= 'table' or not reply.err then
    return nil
  end
  return string.find(reply.err, 'WRONGTYPE', 1, true) and redis.error_reply('WRONGTYPE_KEY ' .. key) or reply
end

-- The error reply if a key holds another type than it should, else nil. size: the command that returns the size of a key of
-- that type. Reading a size is cheaper than reading a type: Redis makes no table for a number.
local function wrong_type(key, size)
  return failed_read(key, redis.pcall(size, key))
end

-- What every call needs. Reading them checks the types of their keys, too.
local waiting, held = redis.pcall('ZCARD', line), redis.pcall('HLEN', inside)
local parked_count = redis.pcall('ZCARD', parked)
-- As text; false: none.
local last_given = redis.pcall('GET', counter)
local known_sessions = redis.pcall('ZCARD', since)
local stored_limits = redis.pcall('HMGET', settings,
  'capacity', 'duration_ms', 'paused', 'older_since', 'rules', 'opening', 'doors', 'stock',
  'notice_version')
local stored_rates = redis.pcall('HMGET', pace, 'rate', 'abandon_rate', 'still_ms', 'sessions')

do
  local wrong = failed_read(line, waiting) or failed_read(inside, held) or failed_read(parked, parked_count)
    or failed_read(settings, stored_limits) or failed_read(pace, stored_rates)
    or failed_read(counter, last_given) or wrong_type(activity, 'ZCARD') or wrong_type(absent, 'ZCARD')
    or wrong_type(streams, 'HLEN')
    or wrong_type(tally, 'HLEN') or failed_read(since, known_sessions) or wrong_type(marks, 'ZCARD')
  if wrong then
    return wrong
  end
end

if string.sub(default_capacity, 1, 1) == '+' and not stored_limits[1] then
  return redis.error_reply('NO_SUCH_ROOM')
end

-- A write that may need memory. At maxmemory Redis refuses such a write only if it is the first one of a script. So a
-- write that changes nothing is done before it, and a script that has begun can always finish. Only lineups check the
-- memory first; see out_of_memory.
local writing = false
local function write(...)
  if not writing then
    writing = true
    redis.call('HDEL', settings, '')
  end
  return redis.call(...)
end

-- Whether Redis is at maxmemory. Tested before the first write, by a write that changes nothing.
local function out_of_memory()
  local reply = redis.pcall('SETRANGE', counter, '0', '')
  -- If Redis has taken it, it was the first write.
  writing = type(reply) ~= 'table'
  return type(reply) == 'table' and string.find(reply.err, 'OOM', 1, true) ~= nil
end

-- A number that is finite and within [low, high], or nil.
local function number_within(value, low, high)
  local number = tonumber(value)
  if number and number >= low and number <= high then
    return number
  end
  return nil
end

-- Whole numbers are exact up to this; no ticket, time or limit may be above it.
local EXACT = 9007199254740991

-- Limits are whole numbers; fractions are dropped.
local function limit(value, low)
  local number = number_within(value, low, EXACT)
  return number and math.floor(number)
end

default_capacity, default_duration = limit(default_capacity, 0), limit(default_duration, 1)
if not (default_capacity and default_duration) then
  return bad_argument('default_capacity, default_duration')
end

local stored_capacity, stored_duration = limit(stored_limits[1], 0), limit(stored_limits[2], 1)
local capacity, duration = stored_capacity or default_capacity, stored_duration or default_duration
-- Whether no user is admitted: an operator has paused the room, or see read_doors.
local paused = stored_limits[3] == '1'

-- Whether an older system runs beside the gateways, as the last sweep found. If so, that system sweeps, and it admits
-- the users whom only it can notify.
local following = stored_limits[4] and true or false

-- The other settings in force, as text.
local rules = stored_limits[5] or default_rules

-- The settings in such a text by name, each as text: 'absent=30000 hold=0'. A text names only what differs from the
-- built-in defaults, so that a room with these has nothing to read. Times are in milliseconds.
--   absent  a user in line who was not seen for so long is parked; 0: never; 60,000 unless given
--   hold    a parked user keeps the ticket for so long; 0: absent users are removed at once; 1,800,000 unless given
--   max_session  a session ends so long after admission, however active the user is; 0: never; 0 unless given
--   claim  a promoted user must make a gated call within so long, or loses the slot; 0: off; 0 unless given
--   rate  admissions never exceed it, as 120/m; per s, m or h; off: no limit; off unless given
--   history  what happened to a user is kept for so long after the end; 0: not at all; 3,600,000 unless given
--   relineup  what lining up again does to a waiting user: back, to the end of the line, or keep; back unless given
--   lineup  explicit: the gate refuses users without a place; implicit: it lines them up; explicit unless given
--   max_waiting  with so many users in line, parked and registered no other user joins the line; 0: no bound; 0 unless given
--   lineups_per_minute  a user lines up so often in any 60 s; 0: no bound; 0 unless given
--   mode  on; off: the instances let everyone in without asking; observe: the gate lets everyone pass; on unless given
--   opens_at  before this moment (epoch ms) the room takes no lineups; 0: none; 0 unless given
--   closes_at  from this moment on it takes none, unless opens_at is later; 0: none; 0 unless given
--   prequeue  so long before opens_at the room begins to register users; 0: it does not; 0 unless given
--   lanes  the lanes other than default, with their shares, see includes/lanes.lua; none unless given
local function rules_of(text)
  -- Made with room for four, which is cheaper than letting it grow.
  local found = { a = nil, b = nil, c = nil, d = nil }
  for name, value in string.gmatch(text, '([%w_]+)=(%S+)') do
    found[name] = value
  end
  return found
end

-- The settings of the rules in force: absent_ms, hold_ms, max_session, claim_ms and history_ms, in milliseconds; refill: the
-- parts of a token that are refilled each millisecond, nil: no rate, see includes/rate.lua; keeps_place: whether relineup is keep;
-- implicit: whether lineup is; max_waiting; lineups: those per minute, at most MOST_LINEUPS; mode: its code, which only instances need; whole_session:
-- milliseconds that a session lasts if the user makes no gated call, from the admission on; opens_at, closes_at and
-- prequeue, in milliseconds; without_moment: opens_at is not given, not even as 0. Beside them: opening: the record of the opening, nil if there is none;
-- under_way: its users are being put in line, see includes/opening.lua.
-- The table is made with room for all of them at once, which is cheaper than letting it grow.
local rule = {
  history_ms = 3600000, absent_ms = 60000, hold_ms = 1800000, max_session = 0, claim_ms = 0,
  opens_at = 0, closes_at = 0, prequeue = 0, without_moment = true, keeps_place = false, implicit = false, max_waiting = 0,
  lineups = 0, mode = 0, whole_session = duration,
}
local TOKEN_PARTS, MOST_LINEUPS = 3600000, 1000

local function read_rules()
  local given = rules_of(rules)
  local function number_of(name, otherwise)
    return given[name] and limit(given[name], 0) or otherwise
  end
  rule.history_ms = number_of('history', 3600000)
  rule.absent_ms, rule.hold_ms = number_of('absent', 60000), number_of('hold', 1800000)
  rule.max_session, rule.claim_ms = number_of('max_session', 0), number_of('claim', 0)
  rule.opens_at, rule.closes_at = number_of('opens_at', 0), number_of('closes_at', 0)
  rule.prequeue, rule.without_moment = number_of('prequeue', 0), not number_of('opens_at')
  rule.lanes = given.lanes
  if given.rate then
    local count, unit = string.match(given.rate, '^([1-9]%d*)/([smh])$')
    -- A text that is no rate sets none.
    rule.refill = count and #count <= 7 and tonumber(count) * (unit == 's' and 3600 or unit == 'm' and 60 or 1) or nil
  else
    rule.refill = nil
  end
  rule.keeps_place, rule.implicit = given.relineup == 'keep', given.lineup == 'implicit'
  rule.max_waiting = number_of('max_waiting', 0)
  rule.mode = given.mode == 'off' and 1 or given.mode == 'observe' and 2 or 0
  rule.lineups = math.min(number_of('lineups_per_minute', 0), MOST_LINEUPS)
  rule.whole_session = rule.max_session > 0 and math.min(duration, rule.max_session) or duration
end
if rules ~= '' then
  read_rules()
end

-- The record of the opening, as text in settings: its phase, the moment opens_at (ms) that it is for, base and size (the
-- registered users get the tickets base + 1 to base + size), how many of them were placed, and how many others left after
-- the close. Phases: gathering (users register), closed (the users are known), awaiting (for the beacon's value), ranked
-- (their order is known), placing, open (over).
if stored_limits[6] then
  local phase, numbers = string.match(stored_limits[6], '^(%l+)([ %d]+)$')
  local found = {}
  for number in string.gmatch(numbers or '', '%d+') do
    found[#found + 1] = limit(number, 0)
  end
  if #found == 5 then
    rule.opening = {
      phase = phase, value = found[1], base = found[2], size = found[3], placed = found[4], gone = found[5],
    }
    rule.under_way = phase ~= 'gathering' and phase ~= 'open'
    -- Until all are placed no user is admitted.
    paused = paused or rule.under_way
  end
end

--- @only if parked_count > 0 or rule.claim_ms > 0
-- The error reply if a key that only parking and claim windows use holds another type, else nil. all: also those that only
-- claim windows use.
local function wrong_type_of_kept(all)
  return wrong_type(tickets, 'ZCARD') or all and (wrong_type(claims, 'ZCARD') or wrong_type(missed, 'ZCARD')) or nil
end
--- @end

--- @only if rule.history_ms > 0
local function wrong_type_of_history()
  return wrong_type(history, 'HLEN') or wrong_type(ended, 'ZCARD')
end
--- @end

-- A script that may park users, or put settings in force, checks these keys in any case.
do
  local wrong = (parked_count > 0 or rule.claim_ms > 0) and wrong_type_of_kept(rule.claim_ms > 0)
    or rule.history_ms > 0 and wrong_type_of_history()
  if wrong then
    return wrong
  end
end

-- Likewise for what only a pre-queue uses.
if rule.opening or rule.prequeue > 0 then
  local wrong = wrong_type(registered, 'ZCARD')
  if wrong then
    return wrong
  end
end

--- @only if not stored_limits[5]
-- Puts settings in force. A schema number never falls: an instance of this version may run beside a later one.
local function write_rules(text)
  rules = text
  read_rules()
  write('HSET', settings, 'rules', text)
  if not number_within(redis.call('HGET', settings, 'schema'), SCHEMA, EXACT) then
    write('HSET', settings, 'schema', SCHEMA)
  end
end
--- @end

--- @only if stored_limits[7]
-- What operators have said of a room's doors, as text in settings, in the form of the rules; no text: they are open.
-- closed: if 1, users without a place can't line up; until: the moment (ms) from which on they can again, if there is one;
-- sold_out: if 1, users outside lose their places, and get none; emptying, emptied_at, emptied_number: users in line with a
-- ticket up to this one, users parked up to this moment (ms), and users with registrations up to this one lose them.
-- Puts all of these into the table rule. No user is admitted while any lose their places, or while the room is sold out.
local function read_doors(text)
  local given = rules_of(text)
  local till = limit(given['until'], 0)
  rule.closed = given.closed == '1' and not (till and till <= now)
  rule.closed_until = rule.closed and till or 0
  rule.sold_out = given.sold_out == '1'
  rule.emptying = rule.sold_out and EXACT or limit(given.emptying, 0)
  rule.emptied_at = rule.sold_out and EXACT or limit(given.emptied_at, 0) or 0
  rule.emptied_number = rule.sold_out and EXACT or limit(given.emptied_number, 0) or 0
  paused = stored_limits[3] == '1' or rule.under_way or rule.emptying ~= nil
end
--- @end
if stored_limits[7] then
  read_doors(stored_limits[7])
end

--- @only if stored_limits[8]
-- How many things are left to sell, as the last writer said: an operator, or a service of a gated call. In settings as text,
-- with who that was: '37 service'.
local function read_stock(text)
  rule.stock = limit(string.match(text or '', '^%d+'), 0)
end
--- @end
if stored_limits[8] then
  read_stock(stored_limits[8])
end

-- Whether it matters when a user lines up.
local timed = rule.opening or rule.opens_at + rule.closes_at > 0

-- A number that changes with what operators tell all users, see notice.lua; nil if there was never anything.
rule.notice = stored_limits[9] and limit(stored_limits[9], 0)

-- How many users this call may still admit.
local admissions_left = MOST

-- Whether this call has changed the key since.
local sessions_changed = false

-- Whether the script looks up the lanes of all its users before its first write, and returns what look_up_lanes returns: then
-- this checks the type of that key.
local looks_up_lanes = false

local waiting_before, held_before, capacity_before = waiting, held, capacity

-- Whether an estimate may be shown. The gate shows none to users who pass, so it need not read how old sessions are.
local estimates = true

-- What this call did, by the names of the totals in tally: admitted, promoted, expired, evicted, left, removed, lineups,
-- parkings, returns, lapsed, unclaimed, registrations. What is missing counts as 0.
local done = {}

-- How long users admitted from the line had waited, and how long sessions ended by this call had lasted, in
-- milliseconds, where known.
local waits, stays = {}, {}

-- A score of the line as the ticket that answers and events show.
local function as_ticket(score)
  return string.format('%.0f', math.max(-EXACT, math.min(tonumber(score), EXACT)))
end

-- Publish to every instance. event is ADMITTED, LEFT, ABSENT, UNCLAIMED, SOLD_OUT, OPERATOR, MOVED or FRONT; people: list of
-- {user, ticket as text}; left: milliseconds that remain of the sessions of users admitted, a whole session unless given;
-- claim_by: until when (ms) they must claim the slot, if they must.
local function tell(event, people, left, claim_by)
  if #people > 0 then
    redis.call('PUBLISH', channel, cjson.encode({
      event = event, people = people, expires_ms = left or rule.whole_session, claim_by = claim_by,
    }))
  end
end
