-- A process closes: its members leave after their grace, with no wait for its lease. ARGV: process, grace_ms, history_ms.
-- Returns how many entries remain, to be called again until there are none.
local process, history_ms = ARGV[4], ARGV[6]
local due = string.format('%.0f', tonumber(micros()) + tonumber(ARGV[5]) * 1000)
for _, place in ipairs(call('SPOP', key('q', process), 200)) do
  local room, user = string.match(place, '^(%S+) (%S+)$')
  leave(room, user, due)
end
for _, room in ipairs(call('SPOP', key('t', process), 200)) do
  call('SREM', key('a', room), process)
  expire_if_unread(room, history_ms)
end
for _, user in ipairs(call('SPOP', key('v', process), 200)) do
  call('HDEL', key('u', user), process)
end
local rest = call('SCARD', key('q', process)) + call('SCARD', key('t', process)) + call('SCARD', key('v', process))
if rest == 0 then
  call('ZREM', PREFIX .. 'procs', process)
end
return rest
