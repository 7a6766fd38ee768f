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

}  // namespace starling
