-- Sends prepared requests in turn and prints the result as one line of JSON.
-- Arguments: a file with one request a line (a credential, and after a tab a body of its own), "keep" or "close", and
-- optionally method, path, header with the credential's prefix ("Authorization: Bearer "), and a common body.
local requests, turn = {}, 0

function init(args)
  local closing = args[2] == "close"
  local method, path, header, body = args[3] or "GET", args[4], args[5] or "X-Access-Token: ", args[6]
  local name, prefix = header:match("^(.-): (.*)$")
  for line in io.lines(args[1]) do
    local credential, own = line:match("^([^\t]*)\t?(.*)$")
    local headers = { [name] = prefix .. credential }
    if method == "POST" then headers["Content-Type"] = "application/json" end
    if closing then headers["Connection"] = "close" end
    requests[#requests + 1] = wrk.format(method, path, headers, own ~= "" and own or body)
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
