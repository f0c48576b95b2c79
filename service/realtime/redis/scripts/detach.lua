-- Ends what `attach` began. ARGV: room, process, history_ms.
local room, process = ARGV[4], ARGV[5]
call('SREM', key('a', room), process)
call('SREM', key('t', process), room)
expire_if_unread(room, ARGV[6])
