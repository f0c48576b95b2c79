-- One process more has this user in this room. Announced where the user was not there.
-- ARGV: room, process, user, username. Returns how many members there are.
local room, process, user, username = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
if call('SADD', key('q', process), room .. ' ' .. user) == 0 then
  return call('ZCARD', key('m', room))
end
open(room)
local members = key('n', room)
local value = call('HGET', members, user)
if value then
  local processes, rest = string.match(value, '^(%d+) (.*)$')
  call('HSET', members, user, tonumber(processes) + 1 .. ' ' .. rest)
  call('ZREM', PREFIX .. 'leaving', room .. ' ' .. user)
  return call('ZCARD', key('m', room))
end
local member = micros() .. ' ' .. username
call('HSET', members, user, '1 ' .. member)
call('ZADD', key('m', room), 0, user)
announce(room, '+', user .. ' ' .. member)
return call('ZCARD', key('m', room))
