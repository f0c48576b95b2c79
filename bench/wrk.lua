-- With an argument: POST it, `%` replaced by a word that no other request has. Where there is none, there is no `request`
-- function, and wrk is as fast as without a script.
init = function(arguments)
  local body = arguments[1]
  if not body then return end
  local run, number = arguments[2], 0
  wrk.headers["Content-Type"] = "application/json"
  request = function()
    number = number + 1
    return wrk.format("POST", nil, nil, (body:gsub("%%", run .. number)))
  end
end

-- The last line of wrk's output, for a program to read. Without a `response` function wrk stays as fast as without a script.
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "failures": %d}\n',
    summary.requests - errors.status, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
