-- Appends a message to a room and publishes it.
-- ARGV: room, tag of the sender's process, body, history (messages), history_ms, most bytes of all rooms,
-- idempotency key ('' for none), fingerprint, ttl_ms of the key.
-- Returns {'sent', epoch, seq, µs}, {'replayed', epoch, seq, µs, body}, {'reused'} or {'expired'}.
local room, tag, body = ARGV[4], ARGV[5], ARGV[6]
local history, history_ms, most_bytes = tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9])
local claim = ARGV[10]

local epoch, seq = open(room)
local claimed = claim ~= '' and key('i', epoch .. ':' .. claim)
if claimed then
  local done = call('HMGET', claimed, 'f', 's')
  if done[1] then
    if done[1] ~= ARGV[11] then
      return {'reused'}
    end
    local found = call('XRANGE', key('h', room), done[2] .. '-0', done[2] .. '-0')
    if #found == 0 then
      return {'expired'}
    end
    return {'replayed', epoch, tonumber(done[2]), found[1][2][2], found[1][2][4]}
  end
end

local now = micros()
local stream = key('h', room)
seq = call('HINCRBY', key('r', room), 's', 1)
if history > 0 then
  local grown = #body
  if call('XLEN', stream) >= history then
    grown = grown - #call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][2][4]
  end
  call('XADD', stream, 'MAXLEN', history, seq .. '-0', 'm', now, 'd', body)
  call('HINCRBY', PREFIX .. 'sizes', room, grown)
  call('ZADD', PREFIX .. 'recent', now, room)
  local bytes = call('INCRBY', PREFIX .. 'bytes', grown)
  for _ = 1, 10 do
    if bytes <= most_bytes then
      break
    end
    local silent = call('ZRANGE', PREFIX .. 'recent', 0, 0)[1]
    if not silent then
      break
    end
    drop_history(silent)
    bytes = tonumber(call('GET', PREFIX .. 'bytes'))
  end
end
if call('EXISTS', key('a', room)) == 0 then
  call('PEXPIRE', key('r', room), history_ms)
  call('PEXPIRE', stream, history_ms)
end
if claimed then
  call('HSET', claimed, 'f', ARGV[11], 's', seq)
  call('PEXPIRE', claimed, ARGV[12])
end
call('PUBLISH', PREFIX .. 'c:' .. room, epoch .. '-' .. seq .. ' ' .. now .. ' ' .. tag .. '\n' .. body)
return {'sent', epoch, seq, now}
