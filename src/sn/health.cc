#include "sn/health.h"

#include <utility>

#include "base/text.h"

namespace starling {
namespace {

void Metric(std::string& out, std::string_view name, std::string_view type, std::string_view help) {
  StrAppend(&out, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

template <typename T>
void Plain(std::string& out, std::string_view name, std::string_view type, std::string_view help,
           T value) {
  Metric(out, name, type, help);
  StrAppend(&out, name, " ", value, "\n");
}

// "c and d" for people.
std::string NamesText(const std::vector<NodeName>& names) {
  std::string text;
  for (const NodeName& name : names) StrAppend(&text, text.empty() ? "" : ", ", name.value());
  return text;
}

void AppendServer(std::string& out, const HttpServerCounters& api,
                  const std::map<std::string, std::uint64_t>& refused_by_api) {
  Plain(out, "starling_http_requests_total", "counter", "Requests to the API.", api.requests);
  Plain(out, "starling_http_connections_total", "counter", "Connections to the API.",
        api.connections);
  Plain(out, "starling_http_bytes_in_total", "counter", "Bytes read by the API.", api.bytes_in);
  Plain(out, "starling_http_bytes_out_total", "counter", "Bytes written by the API.",
        api.bytes_out);
  Metric(out, "starling_refused_total", "counter", "Connections and requests refused, by reason.");
  std::map<std::string, std::uint64_t> refused = refused_by_api;
  for (const auto& [reason, count] : api.refused) refused[reason] += count;
  for (const auto& [reason, count] : refused)
    StrAppend(&out, "starling_refused_total{reason=\"", reason, "\"} ", count, "\n");
}

}  // namespace

SnHealth::SnHealth(const Deps& deps) : deps_(deps) {
  router_.Add("GET", "/livez", [](const RouteMatch&) { return TextResponse("ok\n"); });
  router_.Add("GET", "/startupz", [this](const RouteMatch&) {
    const auto [started, stage] =
        state_.With([](const State& state) { return std::pair(state.started, state.stage); });
    return started ? TextResponse("started\n")
                   : TextResponse(StrCat("starting: ", stage, "\n"), 503);
  });
  router_.Add("GET", "/readyz", [this](const RouteMatch&) { return Ready(); });
  router_.Add("GET", "/metrics", [this](const RouteMatch&) { return Metrics(); });
}

void SnHealth::SetStage(std::string stage) {
  state_.With([&](State& state) { state.stage = std::move(stage); });
}

void SnHealth::SetReady(Sources sources) {
  state_.With([&](State& state) {
    state.ready = state.started = true;
    state.sources = std::move(sources);
  });
}

void SnHealth::SetStopping() {
  state_.With([&](State& state) {
    state.ready = false;
    state.stage = "stopping";
    state.sources = {};
  });
}

HttpResponse SnHealth::Handle(const HttpRequest& request, const std::stop_token& stop) const {
  return router_.Handle(request, stop);
}

HttpResponse SnHealth::Ready() const {
  const auto [ready, stage] =
      state_.With([](const State& state) { return std::pair(state.ready, state.stage); });
  const UtcTime utc = deps_.clock.UtcNow();
  const UtcTime until = deps_.identity.Current()->svid->not_after;
  bool all_ready = ready && until > utc;
  std::string out = StrCat("identity: ", until > utc ? "ready, valid until " : "EXPIRED since ",
                           FormatUtc(until), "\n");
  if (!ready) {
    StrAppend(&out, "node: ", stage, "\n");
    return TextResponse(out, 503);
  }
  // Asked under the state's lock, so that SetStopping() knows that nobody uses the sources any
  // more.
  const Status ledger = state_.With(
      [](const State& state) { return state.sources.ledger ? state.sources.ledger() : Status(); });
  const std::shared_ptr<const Snapshot> snapshot = deps_.feed.Current();
  if (ledger.ok()) {
    StrAppend(&out, "ledger: ready, ", snapshot->end.position.value() + 1, " entries, head ",
              ShortText(snapshot->end.head), "\n");
  } else {
    all_ready = false;
    StrAppend(&out, "ledger: ", Printable(std::string(ledger.message())),
              "; entries are refused until it can be written again\n");
  }
  StrAppend(&out, "api: ready\n");
  const Moment moment{deps_.clock.Now(), utc};
  for (const Waiting& waiting : snapshot->waiting) {
    StrAppend(&out, "training ", waiting.contract.value(), ": ", waiting.what);
    if (!waiting.on.empty()) StrAppend(&out, ", waits for ", NamesText(waiting.on));
    StrAppend(&out, ", since ", FormatUtc(moment.At(waiting.since)), "; next: ", waiting.next,
              "\n");
  }
  return TextResponse(out, all_ready ? 200 : 503);
}

HttpResponse SnHealth::Metrics() const {
  const std::shared_ptr<const Snapshot> snapshot = deps_.feed.Current();
  std::string out;
  Plain(out, "starling_ledger_entries", "gauge", "Entries in the ledger.",
        snapshot->end.position.value() + 1);
  Plain(out, "starling_trainings", "gauge", "Trainings in the ledger.",
        snapshot->state.contracts.size());
  Metric(out, "starling_rounds_sealed", "gauge", "Sealed rounds of the present instance.");
  for (const auto& [name, contract] : snapshot->state.contracts) {
    StrAppend(&out, "starling_rounds_sealed{training=\"", name.value(), "\"} ",
              contract.roots.size(), "\n");
  }
  Metric(out, "starling_nodes", "gauge", "Enrolled learning nodes that are present.");
  for (const auto& [name, contract] : snapshot->state.contracts) {
    std::size_t present = 0;
    for (const auto& [node_name, node] : contract.nodes) present += node.present ? 1 : 0;
    StrAppend(&out, "starling_nodes{training=\"", name.value(), "\"} ", present, "\n");
  }
  const double seconds_left =
      static_cast<double>(
          (deps_.identity.Current()->svid->not_after - deps_.clock.UtcNow()).count()) /
      1000.0;
  Plain(out, "starling_identity_seconds_left", "gauge",
        "Until the certificate of this node expires.", seconds_left);
  state_.With([&](const State& state) {
    if (state.sources.api && state.sources.refused)
      AppendServer(out, state.sources.api(), state.sources.refused());
  });
  HttpResponse response = TextResponse(std::move(out));
  response.headers["content-type"] = "text/plain; version=0.0.4";
  return response;
}

}  // namespace starling
