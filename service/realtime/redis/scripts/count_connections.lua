-- How many connections of a user this process has; returns how many there are in all. ARGV: user, process, count.
local user, process, count = ARGV[4], ARGV[5], tonumber(ARGV[6])
if count > 0 then
  call('HSET', key('u', user), process, count)
  call('SADD', key('v', process), user)
else
  call('HDEL', key('u', user), process)
  call('SREM', key('v', process), user)
end
local sum = 0
for _, value in ipairs(call('HVALS', key('u', user))) do
  sum = sum + tonumber(value)
end
return sum
