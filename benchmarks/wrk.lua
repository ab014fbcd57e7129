-- POSTs the body of the environment's WRK_BODY, and prints one JSON object when it is done.
wrk.method = "POST"
wrk.body = os.getenv("WRK_BODY")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json"

done = function(summary, latency, _)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   io.write(string.format(
      '\n{"requests": %d, "errors": %d, "per_s": %f, "p50_s": %f, "p99_s": %f}\n',
      summary.requests, failed, (summary.requests - errors.status) / summary.duration * 1e6,
      latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
