-- Charges of the buckets of one request, in order, each as `take` in bucket.rs. Once a bucket holds too little, the ones after it
-- are looked at only. Instants and times are whole microseconds.
--
-- KEYS     the buckets: the instant at which each is full; a full one has no key
-- ARGV[1]  the instant of a clock that stands still in a test; empty for the clock of this server
-- ARGV[2]  least step back of a clock that was set back
-- and for each bucket
--   time in which the amount flows in
--   time in which an empty bucket becomes full
--   1 to take the amount, 0 to look only
-- Returns for each bucket: 1 if it held enough, the instant at which it is full, the instant of the charge.
local now, set_back = tonumber(ARGV[1]), tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local answer, is_refused = {}, false
for place, key in ipairs(KEYS) do
  local first = 3 * place
  local needed, window, takes = tonumber(ARGV[first]), tonumber(ARGV[first + 1]), ARGV[first + 2] == '1'
  local latest = now + window
  local known = tonumber(redis.call('GET', key) or nil)
  local before = known or now
  if before > latest + set_back then before = latest end
  if before < now then before = now end
  local is_taken = math.min(before, latest) + needed <= latest
  local after = before
  if is_taken then after = before + needed end
  if takes and not is_refused and after > now and after ~= known then
    -- The key goes when the bucket is full; while time stands still, it must outlive the test.
    local life = math.ceil((after - now) / 1000)
    if ARGV[1] ~= '' then life = 3600000 end
    redis.call('SET', key, string.format('%.0f', after), 'PX', life)
  end
  is_refused = is_refused or not is_taken
  for _, value in ipairs({ is_taken and 1 or 0, after, now }) do answer[#answer + 1] = value end
end
return answer
