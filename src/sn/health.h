// SnHealth: what the plain port 9464 shows of an SN. It exists before the ledger is open, so that a
// slow start can be watched. Any thread; borrows what it is shown.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/mailbox.h"
#include "http/health.h"
#include "http/refusal_book.h"
#include "identity/svid.h"
#include "sn/api_json.h"
#include "sn/feed.h"

namespace starling {

class SnHealth {
 public:
  struct Deps {
    const Clock& clock;
    const SvidSource& identity;
    const Feed& feed;
    const RefusalBook& refused_servers;
  };
  // What only exists once the node has started; empty functions answer nothing.
  struct Sources {
    std::function<Status()> ledger;
    std::function<Instant()> ledger_since;  // since when it is as it is
    // Of a following SN: whether its sentinel answers, and the line that says so.
    std::function<Status()> upstream;
    std::function<std::string()> upstream_line;
    // What is wrong with this SN beside its ledger: who cannot get in, and why.
    std::function<std::vector<Waiting>()> troubles;
    std::function<HttpServerCounters()> api;
    std::function<std::map<std::string, std::uint64_t>()> refused;
  };
  explicit SnHealth(const Deps& deps) : deps_(deps) {}
  SnHealth(const SnHealth&) = delete;
  SnHealth& operator=(const SnHealth&) = delete;

  // What the start is busy with, for /readyz.
  void SetStage(std::string stage);
  void SetReady(Sources sources);
  // Before what the sources borrow goes away.
  void SetStopping();
  [[nodiscard]] HealthPages Pages() const;  // they borrow this

 private:
  struct State {
    std::string stage = "starting";
    bool ready = false;
    bool started = false;
    Sources sources;
  };
  [[nodiscard]] HttpResponse Ready() const;
  [[nodiscard]] std::string Metrics() const;

  const Deps deps_;
  Guarded<State> state_;
};

}  // namespace starling
