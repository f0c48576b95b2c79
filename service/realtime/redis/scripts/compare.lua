-- The state of a room that this process reads, and the messages after a seq of an epoch.
-- ARGV: room, process, epoch, seq, most members to name.
-- Returns {epoch, seq, presence number, count of members, messages, members}. Where the epoch is another, the messages are the whole history.
local room, process, known, after, most_named = ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8])
local epoch, seq = open(room)
call('SADD', key('a', room), process)
call('SADD', key('t', process), room)
call('PERSIST', key('r', room))
call('PERSIST', key('h', room))
local count = call('ZCARD', key('m', room))
local members = count <= most_named and call('HGETALL', key('n', room)) or {}
local from = epoch == known and '(' .. after .. '-0' or '-'
return {epoch, seq, tonumber(call('HGET', key('r', room), 'p')), count, call('XRANGE', key('h', room), from, '+'), members}
