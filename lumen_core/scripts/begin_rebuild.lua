#!lua
-- begin_rebuild: takes the bucket out of service and names the reconciliation that may put it back.
-- KEYS  1 {b}:meta
-- ARGV  1 nonce
-- Replies  OK
redis.call('HSET', KEYS[1], 'nonce', ARGV[1])
redis.call('HDEL', KEYS[1], 'ready')
return 'OK'
