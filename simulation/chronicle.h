// Chronicle: every log that a swarm has ever had, as a tree of pages. A page is one entry and the
// state that production replay makes of the log up to it; since replay is a pure function of the
// log, nodes that read the same log share its pages. The checker replays from zero to see that it
// is one. One thread; pages are immutable.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/replay.h"
#include "simulation/faults.h"
#include "simulation/mutant.h"

namespace starling::simulation {

struct Page;
using Log = std::shared_ptr<const Page>;  // its newest page; never null

struct Page {
  Log before;  // null for the page before entry 0
  std::string entry;
  Verdict verdict;
  Replay replay;
  std::optional<Mutant> mutant;

  [[nodiscard]] const LedgerState& state() const {
    return mutant ? mutant->state() : replay.state();
  }
  [[nodiscard]] Place place() const { return replay.place(); }
  [[nodiscard]] std::int64_t position() const { return replay.place().position.value(); }
  [[nodiscard]] const Contract* Find(const ContractName& name) const {
    const auto it = state().contracts.find(name);
    return it == state().contracts.end() ? nullptr : &it->second;
  }
};

// `log` or an older page of it that has position `position`.
[[nodiscard]] Log At(const Log& log, std::int64_t position);
// Is `old` the same log as `log` up to its end?
[[nodiscard]] bool IsPrefix(const Log& old, const Log& log);
// The pages of `log` after position `after`, in order.
[[nodiscard]] std::vector<Log> PagesAfter(const Log& log, std::int64_t after);

class Chronicle {
 public:
  explicit Chronicle(Fault fault);
  [[nodiscard]] const Log& blank() const { return blank_; }
  [[nodiscard]] Log Append(const Log& log, const std::string& entry);
  [[nodiscard]] std::size_t pages() const { return pages_.size(); }

 private:
  const Fault fault_;
  Log blank_;
  std::map<Digest, Log> pages_;  // by head
};

}  // namespace starling::simulation
