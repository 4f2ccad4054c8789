-- notice: an operator changes what all users of a room are told.
--
-- KEYS     those of a room, see includes/room.lua
-- KEYS[19] audit     stream, see includes/audit.lua
-- ARGV[5]  language  of the text, as ko; '' for users of all languages without a text of their own
-- ARGV[6]  text      what they are told; '' for nothing any more
-- ARGV[7]  all       '1': first drop the texts of all languages
-- ARGV[8]  by        the operator's name
-- ARGV[9]  why       the operator's reason, or ''
--
-- Returns  {summary, texts}; texts: the JSON object that is in Redis now, from language to text
-- Publishes nothing about users. The message {"event":"NOTICE"} makes every instance read the texts.
--
-- The hash settings holds the texts in notice, and in notice_version a number that grows with each change, by which
-- instances notice one that they have not heard of.
--
--- @include clock
--- @include room
--- @include lanes
--- @include rate
--- @include history
--- @include place
--- @include opening
--- @include audit
--- @include summary
local audit, language, text, all, by, why = KEYS[19], ARGV[5], ARGV[6], ARGV[7] == '1', ARGV[8], ARGV[9]
local MOST_LANGUAGES = 16

do
  local wrong = unsound_audit(audit, by)
  if wrong then
    return wrong
  end
end

local sound, before = pcall(cjson.decode, redis.call('HGET', settings, 'notice') or '{}')
if not sound or type(before) ~= 'table' then
  before = {}
end
local texts, count = {}, 0
for name, value in pairs(before) do
  if type(name) == 'string' and type(value) == 'string' and not all and name ~= language then
    texts[name], count = value, count + 1
  end
end
if text ~= '' then
  texts[language], count = text, count + 1
end
if count > MOST_LANGUAGES then
  return bad_argument('language')
end

local encoded = '{}'
if count > 0 then
  encoded = cjson.encode(texts)
  write('HSET', settings, 'notice', encoded)
else
  write('HDEL', settings, 'notice')
end
rule.notice = math.max(now, (rule.notice or 0) + 1)
write('HSET', settings, 'notice_version', as_ticket(rule.notice))
local changed = language == '' and '' or '.' .. language
for name, value in pairs(before) do
  if all and name ~= language and type(value) == 'string' then
    note_change({ audit, by, why }, 'notice', name == '' and 'notice' or 'notice.' .. name, '', value, '')
  end
end
if text ~= '' or not all or before[language] then
  local old = type(before[language]) == 'string' and before[language] or ''
  note_change({ audit, by, why }, 'notice', 'notice' .. changed, '', old, text)
end
redis.call('PUBLISH', channel, '{"event":"NOTICE"}')
return { summary(false), encoded }
