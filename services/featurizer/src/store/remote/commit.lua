-- Commits one partition's changes if its record is still the one that they were made from.
--
-- KEYS: record, clock, a key per state, a key per hour that gets ids, a key per hour that is given up.
-- ARGV: input, output and epoch as they were; input, output and epoch as they become; milliseconds that states and ids
-- live; watermark or nothing; numbers of states, of hours that get ids, of hours given up; then the states; then for each hour
-- that gets ids: hour, the broker's clock, number of ids, ids; then the hours given up.
-- Answers 1 when committed, 0 when the record is another.
local record, clock = KEYS[1], KEYS[2]
local held = redis.call('HMGET', record, 'input', 'output', 'epoch', 'life')
if (held[1] or '0') ~= ARGV[1] or (held[2] or '0') ~= ARGV[2] or (held[3] or '') ~= ARGV[3] then
  return 0
end
local ttl, watermark = ARGV[7], ARGV[8]
local states, hours, expired = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])

-- States name the life of the record that they belong to. What an earlier life left behind is so never taken for its own.
local life = held[4]
local born = not held[1] or not life
if born then
  local now = redis.call('TIME')
  life = string.format('%010d%06d', now[1], now[2])
end

-- A script that fails half-way would leave half of the changes, so what can fail is looked at before the first write.
local function is(key, kind)
  local found = redis.call('TYPE', key)['ok']
  return found == 'none' or found == kind
end
if not born and not is(clock, 'hash') then
  return redis.error_reply('WRONGTYPE the clock is no hash')
end
local place = 12 + states
for number = 1, hours do
  -- Ids of an hour that the clock does not name are left over, and are removed below whatever they are.
  local known = not born and redis.call('HEXISTS', clock, 'h' .. ARGV[place]) == 1
  if known and not is(KEYS[2 + states + number], 'set') then
    return redis.error_reply('WRONGTYPE ids are no set')
  end
  place = place + 3 + tonumber(ARGV[place + 2])
end

if born then
  redis.call('DEL', clock)
end
local at = 11
for number = 1, states do
  redis.call('SET', KEYS[2 + number], life .. ARGV[at + number], 'PX', ttl)
end
at = at + states
for number = 1, hours do
  local key, hour, ids = KEYS[2 + states + number], ARGV[at + 1], tonumber(ARGV[at + 3])
  if redis.call('HSET', clock, 'h' .. hour, ARGV[at + 2]) == 1 then
    redis.call('DEL', key)
  end
  at = at + 3
  -- Lua's stack bounds how many arguments one call may have.
  for first = at + 1, at + ids, 1000 do
    redis.call('SADD', key, unpack(ARGV, first, math.min(first + 999, at + ids)))
  end
  redis.call('PEXPIRE', key, ttl)
  at = at + ids
end
if watermark ~= '' then
  redis.call('HSET', clock, 'watermark', watermark)
end
redis.call('HSET', record, 'input', ARGV[4], 'output', ARGV[5], 'epoch', ARGV[6], 'life', life)
for number = 1, expired do
  redis.call('HDEL', clock, 'h' .. ARGV[at + number])
  redis.call('UNLINK', KEYS[2 + states + hours + number])
end
return 1
