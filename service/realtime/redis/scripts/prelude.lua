-- Comes before every script. KEYS[1] is the generation; ARGV[1] the prefix of all keys, ARGV[2] the run id of the server
-- as the caller's connection knows it, ARGV[3] a new random word.
local PREFIX, RUN_ID, WORD = ARGV[1], ARGV[2], ARGV[3]
local call = redis.call

local function key(kind, name)
  return PREFIX .. kind .. ':' .. name
end

local function micros()
  local now = call('TIME')
  return string.format('%d%06d', now[1], now[2])
end

-- A server that restarted, or that took the place of another, may have lost what was acknowledged. Its positions must not be
-- assigned again, so all rooms begin again: they belong to a new generation.
local function generation()
  local known = call('HMGET', KEYS[1], 'run', 'gen')
  if known[1] == RUN_ID and known[2] then
    return known[2]
  end
  call('HSET', KEYS[1], 'run', RUN_ID, 'gen', WORD)
  return WORD
end

-- Drops the history of a room from the bytes that all rooms may hold together.
local function drop_history(room)
  local size = call('HGET', PREFIX .. 'sizes', room)
  if size then
    call('HDEL', PREFIX .. 'sizes', room)
    call('DECRBY', PREFIX .. 'bytes', size)
  end
  call('ZREM', PREFIX .. 'recent', room)
  call('DEL', key('h', room))
end

-- Epoch and seq of a room of this generation; nil where there is none.
local function find(room)
  local state = call('HMGET', key('r', room), 'g', 'e', 's')
  if state[1] and state[1] == generation() then
    return state[2], tonumber(state[3])
  end
end

local function open(room)
  local epoch, seq = find(room)
  if epoch then
    return epoch, seq
  end
  drop_history(room)
  call('DEL', key('r', room), key('m', room), key('n', room))
  call('HSET', key('r', room), 'g', generation(), 'e', WORD, 's', 0, 'p', 0)
  call('ZADD', PREFIX .. 'rooms', 0, room)
  return WORD, 0
end

-- Forgets a room that has neither members nor history and that no process reads.
local function forget_if_empty(room)
  if call('EXISTS', key('a', room), key('m', room), key('h', room)) == 0 then
    drop_history(room)
    call('DEL', key('r', room), key('n', room))
    call('ZREM', PREFIX .. 'rooms', room)
  end
end

-- A room that no process reads is kept for as long as its history.
local function expire_if_unread(room, history_ms)
  if call('EXISTS', key('a', room)) == 0 then
    call('PEXPIRE', key('r', room), history_ms)
    call('PEXPIRE', key('h', room), history_ms)
    forget_if_empty(room)
  end
end

-- Announces a change of presence: its number, the count, and the sign with the member.
local function announce(room, sign, member)
  local number = call('HINCRBY', key('r', room), 'p', 1)
  local count = call('ZCARD', key('m', room))
  call('PUBLISH', PREFIX .. 'c:' .. room, 'p ' .. number .. ' ' .. count .. ' ' .. sign .. '\n' .. member)
end

-- One process fewer has this user in this room. The last one leaves when `due` has come, unless the user returns.
local function leave(room, user, due)
  local members = key('n', room)
  local value = call('HGET', members, user)
  if not value then
    return
  end
  local processes, rest = string.match(value, '^(%d+) (.*)$')
  processes = tonumber(processes) - 1
  call('HSET', members, user, processes .. ' ' .. rest)
  if processes == 0 then
    call('ZADD', PREFIX .. 'leaving', due, room .. ' ' .. user)
  end
end
