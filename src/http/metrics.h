// MetricsText: metrics in Prometheus' text form (version 0.0.4), written one after another. Names,
// help and label values are the caller's own words, or stable codes; nothing is escaped.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "http/refusal_book.h"
#include "http/server.h"
#include "identity/svid.h"

namespace starling {

class MetricsText {
 public:
  // `name`_total by convention; a family without labels has one value.
  template <typename T>
  MetricsText& Counter(std::string_view name, std::string_view help, T value) {
    return Family(name, "counter", help).Value(name, value);
  }
  template <typename T>
  MetricsText& Gauge(std::string_view name, std::string_view help, T value) {
    return Family(name, "gauge", help).Value(name, value);
  }
  // The head of a family; its values follow.
  MetricsText& Family(std::string_view name, std::string_view type, std::string_view help) {
    StrAppend(&text_, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
    return *this;
  }
  template <typename T>
  MetricsText& Value(std::string_view name, T value) {
    StrAppend(&text_, name, " ", value, "\n");
    return *this;
  }
  template <typename T>
  MetricsText& Value(std::string_view name, std::string_view label, std::string_view is, T value) {
    StrAppend(&text_, name, "{", label, "=\"", is, "\"} ", value, "\n");
    return *this;
  }
  // What every daemon's server counts. `also_refused`: counted behind the server, by the same
  // codes.
  MetricsText& Server(const HttpServerCounters& server,
                      const std::map<std::string, std::uint64_t>& also_refused);
  // What every daemon's clients refused.
  MetricsText& RefusedServers(const RefusalCounts& refused);
  // What every daemon says of its own identity.
  MetricsText& Identity(const SvidSource& source, UtcTime now);
  [[nodiscard]] std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace starling
