-- Prints the line that run.sh reads: requests, errors, total microseconds, p50 and p99 in microseconds.
done = function(summary, latency)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format("result %d %d %d %d %d\n", summary.requests, errors, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
