-- Members of a room by id. ARGV: room, id to continue after ('' for the first), limit.
-- Returns {user, 'processes µs username', …}.
local from = ARGV[5] == '' and '-' or '(' .. ARGV[5]
local found = {}
for place, user in ipairs(call('ZRANGEBYLEX', key('m', ARGV[4]), from, '+', 'LIMIT', 0, ARGV[6])) do
  found[2 * place - 1], found[2 * place] = user, call('HGET', key('n', ARGV[4]), user) or '0 0 '
end
return found
