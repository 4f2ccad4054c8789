-- What happened to each user: an entry for every change of a user's state. Needs clock and room.
--
-- The hash history holds the entries of a user as one text, the oldest first. An entry is '19ac3f1e2b4.11 PARKED ABSENT,':
-- epoch millisecond and ticket, both hexadecimal (ticket 0: none; -1: minus one), what happened, and why, if there is more than one
-- reason. It ends with a semicolon if the user has neither slot nor place any more. gateway/waiting_room/history.py has
-- the same words. The entries of a call are written at its end, for all users at once.

--- @only if rule.history_ms > 0
-- The new entries by user, and these users in the order in which they came. concerned.moment: now, hexadecimal.
local entries, concerned = {}, {}

-- ticket: a number or text; nil or 0 for none. why: nil unless there is more than one reason.
local function happened(user, what, ticket, why)
  if rule.history_ms == 0 then
    return
  end
  local before = entries[user]
  if not before then
    before = ''
    concerned[#concerned + 1] = user
    concerned.moment = concerned.moment or string.format('%x.', now)
  end
  local value = tonumber(ticket or 0)
  if value % 1 ~= 0 or value > EXACT or value < -EXACT then
    value = tonumber(as_ticket(value))
  end
  local number = value < 0 and string.format('-%x ', -value) or string.format('%x ', value)
  local last = (what == 'EXPIRED' or what == 'LEFT' or what == 'REMOVED') and ';' or ','
  entries[user] = before .. concerned.moment .. number .. what .. (why and ' ' .. why or '') .. last
end

-- Called once at the end of a script. Of each user the last 50 entries are kept. They are counted only in a text of
-- 1,000 bytes or more, because a shorter one has no more.
local function keep_history()
  if #concerned == 0 then
    return
  end
  local texts, over, anew, semicolon = {}, {}, {}, string.byte(';')
  for at, before in ipairs(redis.call('HMGET', history, unpack(concerned))) do
    local user = concerned[at]
    local text = (before or '') .. entries[user]
    if #text >= 1000 then
      local _, count = string.gsub(text, '[,;]', '')
      local cut = 0
      for _ = 51, count do
        cut = string.find(text, '[,;]', cut + 1)
      end
      text = string.sub(text, cut + 1)
    end
    texts[2 * at - 1], texts[2 * at] = user, text
    if string.byte(text, -1) == semicolon then
      over[#over + 1] = now
      over[#over + 1] = user
    elseif before and string.byte(before, -1) == semicolon then
      anew[#anew + 1] = user
    end
  end
  write('HSET', history, unpack(texts))
  if #over > 0 then
    write('ZADD', ended, unpack(over))
  end
  if #anew > 0 then
    redis.call('ZREM', ended, unpack(anew))
  end
end
--- @end
