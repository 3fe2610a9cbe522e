-- One charge of a bucket, as `take` in bucket.rs. Instants and times are whole microseconds.
--
-- KEYS[1]  the bucket: the instant at which it is full; a full one has no key
-- ARGV[1]  time in which the amount flows in
-- ARGV[2]  time in which an empty bucket becomes full
-- ARGV[3]  least step back of a clock that was set back
-- ARGV[4]  1 to take the amount, 0 to look only
-- ARGV[5]  the instant of a clock that stands still in a test; empty for the clock of this server
local needed, window, set_back = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local now = tonumber(ARGV[5])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local latest = now + window
local known = tonumber(redis.call('GET', KEYS[1]) or nil)
local before = known or now
if before > latest + set_back then before = latest end
if before < now then before = now end
local is_taken = math.min(before, latest) + needed <= latest
local after = before
if is_taken then after = before + needed end
if ARGV[4] == '1' and after > now and after ~= known then
  -- The key goes when the bucket is full; while time stands still, it must outlive the test.
  local life = math.ceil((after - now) / 1000)
  if ARGV[5] ~= '' then life = 3600000 end
  redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', life)
end
return { is_taken and 1 or 0, after, now }
