-- What every script of a room ends with. Needs clock and room.

-- Keeps the pace of the line: admissions from it, and for how long it has stood, both fading with the length
-- of a session (at least 30 s), so that their ratio follows the room. Time without a line, or while paused,
-- is no exposure. beat: also when nobody was promoted (the sweep says so, once a second).
local function keep_pace(beat)
  local begins = waiting > 0 and not waited
  if not (begins or (waited and (beat or done.promoted > 0))) then
    return
  end
  local stored = redis.call('HMGET', pace, 'admissions', 'exposure_ms', 'at')
  local admissions = number_within(stored[1], 0, EXACT) or 0
  local exposure = number_within(stored[2], 0, EXACT) or 0
  local at = number_within(stored[3], 0, now)
  if waited and at and not paused then
    local fade = math.max(duration, 30000)
    local keep = math.exp((at - now) / fade)
    admissions = admissions * keep
    exposure = exposure * keep + fade * (1 - keep)
  end
  admissions = admissions + done.promoted
  redis.call('HSET', pace,
    'admissions', string.format('%.9g', admissions),
    'exposure_ms', string.format('%.9g', exposure),
    'at', string.format('%.0f', now))
end

-- Admissions from the line per second, as text; '0' until something has been measured.
local function rate()
  local stored = redis.call('HMGET', pace, 'admissions', 'exposure_ms')
  local admissions = number_within(stored[1], 1e-9, EXACT)
  local exposure = number_within(stored[2], 1, EXACT)
  if not (admissions and exposure) then
    return '0'
  end
  return string.format('%.9g', 1000 * admissions / exposure)
end

-- The first element of every reply:
-- {waiting, allowed in, capacity, duration in ms, paused 0/1, rate, more 0/1, now in ms,
--  admitted, promoted, expired, evicted, left, removed, lineups: by this call}
-- more: there is work left that one call may not do; call the sweep at once.
local function summary(unfinished)
  if not (stored_capacity and stored_duration) then
    redis.call('HSET', settings,
      'capacity', string.format('%.0f', capacity), 'duration_ms', string.format('%.0f', duration))
  end
  for name, count in pairs(done) do
    -- A total that is no number, or full, begins again.
    if count > 0 and type(redis.pcall('HINCRBY', tally, name, count)) == 'table' then
      redis.call('HSET', tally, name, count)
    end
  end
  local more = unfinished or (not paused and capacity > held and waiting > 0)
  return {
    waiting, held, capacity, duration, paused and 1 or 0, rate(), more and 1 or 0, now,
    done.admitted, done.promoted, done.expired, done.evicted, done.left, done.removed, done.lineups,
  }
end
