-- ARGV: room, process, user, grace_ms.
local room, process, user = ARGV[4], ARGV[5], ARGV[6]
if call('SREM', key('q', process), room .. ' ' .. user) == 1 then
  leave(room, user, string.format('%.0f', tonumber(micros()) + tonumber(ARGV[7]) * 1000))
end
