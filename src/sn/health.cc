#include "sn/health.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "http/metrics.h"
#include "identity/identity_health.h"

namespace starling {
namespace {

constexpr std::size_t kLineMax = 2000;

}  // namespace

HealthPages SnHealth::Pages() const {
  return {[this] {
            return state_.With(
                [](const State& state) { return StartupPage(state.started, state.stage); });
          },
          [this] { return Ready(); }, [this] { return Metrics(); }};
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

HttpResponse SnHealth::Ready() const {
  const auto [ready, stage] =
      state_.With([](const State& state) { return std::pair(state.ready, state.stage); });
  const UtcTime utc = deps_.clock.UtcNow();
  const IdentityHealth identity = LookAtIdentity(deps_.identity, utc);
  bool all_ready = ready && identity.usable;
  std::string out = StrCat("identity: ", Printable(IdentityLine(identity), kLineMax), "\n");
  if (!ready) {
    StrAppend(&out, "node: ", stage, "\n");
    return TextResponse(out, 503);
  }
  // Asked under the state's lock, so that SetStopping() knows that nobody uses the sources any
  // more.
  const auto [ledger, since] = state_.With([&](const State& state) {
    const Sources& sources = state.sources;
    return std::pair(sources.ledger ? sources.ledger() : Status(),
                     sources.ledger_since ? sources.ledger_since() : deps_.clock.Now());
  });
  const Moment moment{deps_.clock.Now(), utc};
  const std::shared_ptr<const Snapshot> snapshot = deps_.feed.Current();
  if (ledger.ok()) {
    StrAppend(&out, "ledger: ready, ", snapshot->end.position.value() + 1, " entries, head ",
              ShortText(snapshot->end.head), "\n");
  } else {
    all_ready = false;
    const std::string next = NextStep(ledger);
    StrAppend(&out, "ledger: ", Printable(std::string(ledger.message()), 500),
              "; entries are refused, since ", FormatUtc(moment.At(since)),
              "; next: ", next.empty() ? "it is tried again; look at the disk of this SN" : next,
              "\n");
  }
  const auto [upstream, upstream_line] = state_.With([](const State& state) {
    const Sources& sources = state.sources;
    return sources.upstream ? std::pair(sources.upstream(), sources.upstream_line())
                            : std::pair(Status(), std::string());
  });
  all_ready = all_ready && upstream.ok();
  if (!upstream_line.empty()) StrAppend(&out, "sentinel: ", Printable(upstream_line, 800), "\n");
  StrAppend(&out, "api: ready\n");
  for (const Waiting& waiting : snapshot->waiting) {
    StrAppend(&out, "training ", waiting.contract.value(), ": ",
              Printable(WaitSentence(waiting, FormatUtc(moment.At(waiting.since))), kLineMax),
              "\n");
  }
  const std::vector<Waiting> troubles = state_.With([](const State& state) {
    return state.sources.troubles ? state.sources.troubles() : std::vector<Waiting>();
  });
  for (const Waiting& trouble : troubles) {
    StrAppend(&out, "api: ",
              Printable(WaitSentence(trouble, FormatUtc(moment.At(trouble.since))), kLineMax),
              "\n");
  }
  return TextResponse(out, all_ready ? 200 : 503);
}

std::string SnHealth::Metrics() const {
  const std::shared_ptr<const Snapshot> snapshot = deps_.feed.Current();
  const auto& contracts = snapshot->state.contracts;
  MetricsText text;
  text.Gauge("starling_ledger_entries", "Entries in the ledger.",
             snapshot->end.position.value() + 1);
  text.Gauge("starling_trainings", "Trainings in the ledger.", contracts.size());
  text.Family("starling_rounds_sealed", "gauge", "Sealed rounds of the present instance.");
  for (const auto& [name, contract] : contracts)
    text.Value("starling_rounds_sealed", "training", name.value(), contract.roots.size());
  text.Family("starling_nodes", "gauge", "Enrolled learning nodes that are present.");
  for (const auto& [name, contract] : contracts) {
    const auto present = std::count_if(contract.nodes.begin(), contract.nodes.end(),
                                       [](const auto& node) { return node.second.present; });
    text.Value("starling_nodes", "training", name.value(), present);
  }
  text.Identity(deps_.identity, deps_.clock.UtcNow());
  text.RefusedServers(deps_.refused_servers.counts());
  state_.With([&](const State& state) {
    if (state.sources.api && state.sources.refused)
      text.Server(state.sources.api(), state.sources.refused());
  });
  return text.Take();
}

}  // namespace starling
