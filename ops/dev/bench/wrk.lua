-- Sends the prepared requests in turn, one for each token, and prints what came of it as one line of JSON.
-- With method, path and body after the first two arguments the tokens are logins of the JSON API.
local requests, turn = {}, 0

function init(args)
  local closing = args[2] == "close"
  local method, path, body = args[3] or "GET", args[4], args[5]
  for token in io.lines(args[1]) do
    local headers = { ["X-Access-Token"] = token }
    if path then headers = { ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json" } end
    if closing then headers["Connection"] = "close" end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "failed": %d, "refused": %d, "p50": %.3f, "p95": %.3f, "p99": %.3f}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
