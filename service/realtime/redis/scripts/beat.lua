-- Renews the lease of a process, settles what is due in all rooms, and publishes to the process's own channel.
-- ARGV: process, '1' for its first beat, number of the beat, lease_ms, grace_ms, history_ms.
-- Returns {generation, 1 where the lease had ended and others were free to take its members away}.
local process, is_first, number = ARGV[4], ARGV[5], ARGV[6]
local lease, grace, history_ms = tonumber(ARGV[7]) * 1000, tonumber(ARGV[8]) * 1000, ARGV[9]
local MOST = 100 -- of each kind in one beat, so that the server is not kept from its other work

local now = tonumber(micros())
local gen = generation()
local procs, leaving = PREFIX .. 'procs', PREFIX .. 'leaving'
if is_first ~= '1' and not call('ZSCORE', procs, process) then
  return {gen, 1}
end
call('ZADD', procs, string.format('%.0f', now + lease), process)

-- Members whose grace is over.
for _, place in ipairs(call('ZRANGEBYSCORE', leaving, '-inf', string.format('%.0f', now), 'LIMIT', 0, MOST)) do
  call('ZREM', leaving, place)
  local room, user = string.match(place, '^(%S+) (%S+)$')
  local value = call('HGET', key('n', room), user)
  if value and string.sub(value, 1, 2) == '0 ' then
    call('HDEL', key('n', room), user)
    call('ZREM', key('m', room), user)
    if find(room) then
      announce(room, '-', user)
      expire_if_unread(room, history_ms)
    end
  end
end

-- One process whose lease has ended: it crashed, or it is cut off.
local ended = call('ZRANGEBYSCORE', procs, '-inf', string.format('%.0f', now), 'LIMIT', 0, 1)[1]
if ended then
  local due = string.format('%.0f', now + grace)
  for _, place in ipairs(call('SPOP', key('q', ended), 2 * MOST)) do
    local room, user = string.match(place, '^(%S+) (%S+)$')
    leave(room, user, due)
  end
  for _, room in ipairs(call('SPOP', key('t', ended), 2 * MOST)) do
    call('SREM', key('a', room), ended)
    expire_if_unread(room, history_ms)
  end
  for _, user in ipairs(call('SPOP', key('v', ended), 2 * MOST)) do
    call('HDEL', key('u', user), ended)
  end
  if call('EXISTS', key('q', ended), key('t', ended), key('v', ended)) == 0 then
    call('ZREM', procs, ended)
  end
end

-- Rooms that have expired, with what was counted for them.
for _, room in ipairs(call('ZRANGEBYSCORE', PREFIX .. 'recent', '-inf', string.format('%.0f', now - tonumber(history_ms) * 1000), 'LIMIT', 0, MOST)) do
  drop_history(room)
  if not find(room) then
    call('ZREM', PREFIX .. 'rooms', room)
  else
    forget_if_empty(room)
  end
end

call('PUBLISH', PREFIX .. 'p:' .. process, number)
return {gen, 0}
