-- Only this file admits users from the head of the line. Needs clock, room, lanes, rate, history, place,
-- parking and session.

-- Whether a slot may become free now. While an older system is followed, a slot must not stay free while users wait:
-- that system admits new users past the line.
local function may_free()
  return not following or waiting == 0 or (not paused and tokens_left() ~= 0 and next_can_be_told())
end

-- See promote. In a function of its own, so that most calls define none of these.
local function fill_slots()
  -- head: {user, ticket, …} by ticket. Records how long each user has waited. The wait is counted from half a second (the
  -- middle between two sweeps) after the last mark at which the ticket had not been given yet. It is unknown before the
  -- first sweep.
  local function note_waits(head)
    local first, last = head[2], head[#head]
    local past = redis.call('ZREVRANGEBYSCORE', marks, '(' .. first, '-inf', 'LIMIT', '0', '1')
    local ahead = redis.call('ZRANGEBYSCORE', marks, first, '(' .. last, 'WITHSCORES', 'LIMIT', '0', MOST)
    local began, at = tonumber(past[1]), 1
    if not (began or ahead[1]) then
      return
    end
    for place = 2, #head, 2 do
      while ahead[at] and tonumber(ahead[at + 1]) < tonumber(head[place]) do
        began, at = tonumber(ahead[at]), at + 2
      end
      if began then
        waits[#waits + 1] = math.max(0, now - began - 500)
      end
    end
  end

  -- While an older system is followed, promotion stops before the first user who has no open stream at any gateway,
  -- because the gateways can't notify that user.
  local function keep_those_who_can_be_told(head)
    local users = {}
    for at = 1, #head, 2 do
      users[#users + 1] = head[at]
    end
    for at, instances in ipairs(redis.call('HMGET', streams, unpack(users))) do
      if not instances then
        return { unpack(head, 1, 2 * (at - 1)) }
      end
    end
    return head
  end

  -- The next users of a lane who may be admitted, with their tickets.
  local function head_of(lane, count)
    local head = redis.call('ZRANGE', lane.key, '0', count - 1, 'WITHSCORES')
    return following and #head > 0 and keep_those_who_can_be_told(head) or head
  end

  -- Admits so many users of a lane. Returns whether there was any.
  local function admit(lane, count)
    local head = head_of(lane, count)
    if #head == 0 then
      return false
    end
    local users, people, sessions, index = {}, {}, {}, {}
    local inside_already = {}
    local second = string.format('%.0f', math.floor(now / 1000))
    for at = 1, #head, 2 do
      users[#users + 1] = head[at]
    end
    local stored = redis.call('HMGET', inside, unpack(users))
    note_waits(head)
    for at, user in ipairs(users) do
      local left = stored[at] and session_left(user)
      local person = { user, as_ticket(head[2 * at]) }
      if left and left <= 0 then
        happened(user, 'EXPIRED')
      end
      happened(user, 'PROMOTED', person[2])
      if left and left > 0 then
        inside_already[#inside_already + 1] = { person, left }
      else
        people[#people + 1] = person
        sessions[#sessions + 1] = user
        sessions[#sessions + 1] = second
        index[#index + 1] = now
        index[#index + 1] = user
        if left then
          note_stay(redis.call('ZSCORE', since, user), now + left)
          done.expired = (done.expired or 0) + 1
        else
          held = held + 1
        end
      end
    end
    if #sessions > 0 then
      write('HSET', inside, unpack(sessions))
      write('ZADD', activity, unpack(index))
      write('ZADD', since, unpack(index))
      sessions_changed = true
    end
    take_out(unpack(users))
    redis.call('ZREM', absent, unpack(users))
    if parked_count > 0 then
      local both = redis.call('ZREM', parked, unpack(users))
      if both > 0 then
        redis.call('ZREM', tickets, unpack(users))
        parked_count = parked_count - both
      end
    end
    local must_claim
    if rule.claim_ms > 0 and not following and #sessions > 0 then
      local kept = {}
      for at, person in ipairs(people) do
        kept[2 * at - 1], kept[2 * at] = person[2], person[1]
      end
      write('ZADD', claims, unpack(index))
      write('ZADD', tickets, unpack(kept))
      must_claim = now + rule.claim_ms
    elseif lanes then
      for _, user in ipairs(users) do
        lanes.changes[user], lanes.entered[user], lanes.known[user] = false, false, lanes.default
      end
    end
    admissions_left = admissions_left - #users
    spend(#sessions / 2)
    done.admitted = (done.admitted or 0) + #sessions / 2
    done.promoted = (done.promoted or 0) + #users
    tell('ADMITTED', people, nil, must_claim)
    for _, one in ipairs(inside_already) do
      tell('ADMITTED', { one[1] }, one[2])
    end
    return true
  end

  -- Deals so many admissions to the lanes. Returns whether any user was admitted.
  local function admit_by_shares(count)
    local left, all = {}, 0
    for nth, lane in ipairs(lanes) do
      left[nth] = following and #head_of(lane, count) / 2 or lane.size
      all = all + left[nth]
    end
    local any = false
    local dealt = deal(math.min(count, all), left)
    for nth, lane in ipairs(lanes) do
      any = dealt[nth] and admit(lane, dealt[nth]) or any
    end
    return any
  end

  keep_joined()
  while not paused and capacity > held and waiting > 0 and admissions_left > 0 and tokens_left() ~= 0 do
    local count = math.min(capacity - held, waiting, admissions_left, tokens_left() or EXACT)
    local any
    if lanes then
      any = admit_by_shares(count)
    else
      any = admit(whole, count)
    end
    if not any then
      return
    end
  end
end

-- Fills free slots from the head of the line, by ticket, and publishes the admissions in the same call. Each user is
-- written as allowed in before being removed from the line. If the script breaks off in between, the user is in both
-- keys, which means allowed in.
local function promote()
  if not paused and waiting > 0 and held < capacity then
    fill_slots()
  end
end
