#include "http/metrics.h"

namespace starling {

MetricsText& MetricsText::Server(const HttpServerCounters& server,
                                 const std::map<std::string, std::uint64_t>& also_refused) {
  Counter("starling_http_requests_total", "Requests to this node.", server.requests);
  Counter("starling_http_connections_total", "Connections to this node.", server.connections);
  Counter("starling_http_bytes_in_total", "Bytes read by the server.", server.bytes_in);
  Counter("starling_http_bytes_out_total", "Bytes written by the server.", server.bytes_out);
  Family("starling_refused_total", "counter", "Connections and requests refused, by reason.");
  std::map<std::string, std::uint64_t> refused = also_refused;
  for (const auto& [reason, count] : server.refused) refused[reason] += count;
  for (const auto& [reason, count] : refused)
    Value("starling_refused_total", "reason", reason, count);
  return *this;
}

MetricsText& MetricsText::RefusedServers(const RefusalCounts& refused) {
  Family("starling_refused_servers_total", "counter",
         "Servers of others that this node refused, by reason.");
  for (const auto& [reason, count] : refused)
    Value("starling_refused_servers_total", "reason", reason, count);
  return *this;
}

MetricsText& MetricsText::Identity(const SvidSource& source, UtcTime now) {
  const std::shared_ptr<const IdentityState> state = source.Current();
  const SourceReport report = source.Report();
  const auto left =
      state->svid == nullptr ? UtcTime::duration::zero() : state->svid->not_after - now;
  Gauge("starling_identity_seconds_left",
        "Until the certificate of this node expires; 0 without one.",
        static_cast<double>(left.count()) / 1000.0);
  Gauge("starling_identity_trouble", "1 while its source does not give what it should.",
        report.trouble.ok() ? 0 : 1);
  Counter("starling_identity_updates_total", "Identity states taken in.", report.updates);
  Counter("starling_identity_rotations_total", "Own certificates taken in, the first included.",
          report.rotations);
  Counter("starling_identity_bundle_changes_total",
          "Changes of the trusted CAs, the first ones included.", report.bundle_changes);
  return *this;
}

}  // namespace starling
