-- Single questions over connections kept open: 1,000 pairs of numbers in turn, with a key.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("KEY")

local prefixes = { "+7727250", "+7701111", "+1415555", "+4477009" }
local bodies = {}
for i = 0, 999 do
  bodies[i] = string.format(
    '{"trunk":"international","calling":"%s%04d","presentation":"%s%04d","called":"+7701123%04d","call_id":"call-%d"}',
    prefixes[i % 4 + 1], i, prefixes[i % 4 + 1], i, i, i)
end

local n = 0
request = function()
  n = (n + 1) % 1000
  return wrk.format(nil, nil, nil, bodies[n])
end
