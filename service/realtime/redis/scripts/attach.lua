-- Registers a process as a reader of a room, and returns all that it must know of it.
-- ARGV: room, process, '1' to create the room where it is missing, most members to name.
-- Returns {epoch, seq, presence number, count of members, history, members}, or nil where there is no such room.
local room, process, create, most_named = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])

local epoch, seq = find(room)
if not epoch then
  if create ~= '1' then
    return nil
  end
  epoch, seq = open(room)
end
call('SADD', key('a', room), process)
call('SADD', key('t', process), room)
call('PERSIST', key('r', room))
call('PERSIST', key('h', room))
local count = call('ZCARD', key('m', room))
local members = count <= most_named and call('HGETALL', key('n', room)) or {}
return {epoch, seq, tonumber(call('HGET', key('r', room), 'p')), count, call('XRANGE', key('h', room), '-', '+'), members}
