-- The generic cell rate algorithm over several limits at once: either each lets the request pass and takes note of
-- it, or none does. A key holds the instant, in microseconds, at which its limit would be whole again.
--
-- KEYS: one for each limit. ARGV: for each the microseconds that this request takes to be made good, and those that
-- all of its requests take. Answers, for each, how long this request would have to wait and what is yet to be made
-- good. All numbers are whole and below 2^53, so that Lua keeps them exactly.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local whole_at, after, waits, slower = {}, {}, {}, {}
local passes = true
for i, key in ipairs(KEYS) do
  local interval, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  whole_at[i] = math.max(tonumber(redis.call('GET', key) or now), now)
  -- No limit takes longer to be whole than all of its requests do: a former, slower one has left that behind.
  slower[i] = whole_at[i] > now + burst
  if slower[i] then whole_at[i] = now + burst end
  after[i] = whole_at[i] + interval
  waits[i] = math.max(after[i] - burst - now, 0)
  passes = passes and waits[i] == 0
end
local answer = {}
for i, key in ipairs(KEYS) do
  if passes then whole_at[i] = after[i] end
  if passes or slower[i] then
    redis.call('SET', key, string.format('%.0f', whole_at[i]), 'PX', math.ceil((whole_at[i] - now) / 1000))
  end
  answer[2 * i - 1], answer[2 * i] = waits[i], whole_at[i] - now
end
return answer
