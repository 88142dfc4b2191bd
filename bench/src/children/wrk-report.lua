-- wrk --script=wrk-report.lua URL [-- BYTES]: with BYTES each request is a POST with a body of so many.
function init(args)
  if args[1] == nil then return end
  wrk.method = 'POST'
  wrk.body = string.rep('x', tonumber(args[1]))
end

-- Prints what wrk counted as one line of JSON; wrk's own text rounds.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'JSON {"requests":%d,"bytes":%d,"seconds":%.6f,"p50Micros":%.1f,"p99Micros":%.1f,"errors":%d}\n',
    summary.requests, summary.bytes, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
