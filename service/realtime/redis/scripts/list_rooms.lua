-- Rooms by name. ARGV: name to continue after ('' for the first), limit.
-- Returns {last name looked at or false, {name, epoch, seq, count of members, …}}; rooms that are gone are left out.
local from = ARGV[4] == '' and '-' or '(' .. ARGV[4]
local names = call('ZRANGEBYLEX', PREFIX .. 'rooms', from, '+', 'LIMIT', 0, ARGV[5])
local found = {}
for _, name in ipairs(names) do
  local epoch, seq = find(name)
  if epoch then
    local place = #found
    found[place + 1], found[place + 2], found[place + 3], found[place + 4] = name, epoch, seq, call('ZCARD', key('m', name))
  elseif call('EXISTS', key('r', name)) == 0 then
    call('ZREM', PREFIX .. 'rooms', name)
  end
end
return {names[#names] or false, found}
