-- Shows a member by another name. ARGV: room, user, username.
local members = key('n', ARGV[4])
local value = call('HGET', members, ARGV[5])
if value then
  call('HSET', members, ARGV[5], string.match(value, '^(%d+ %d+) ') .. ' ' .. ARGV[6])
end
