// `starling training …` and `starling status`: an operator's look at trainings and the few things
// that only an operator may do. Output goes to `out`; the answer is a Status that main turns into
// an exit code. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "swci/sn_client.h"

namespace starling {

// What `training create` fixes; what is left out is open, and the first enrolment fills it.
struct TrainingRules {
  std::optional<std::uint64_t> min_peers, sync_interval, witnesses, audit, weight_max;
  std::optional<std::string> merge;
  std::string initial = "leader";    // leader, merge or a root
  std::vector<std::string> members;  // name=key, key in base64url
  std::vector<std::string> admins;   // SPIFFE IDs or kids
};
[[nodiscard]] Result<Rules> RulesFrom(const TrainingRules& given);

struct TrainingRequest {
  enum class Action : std::uint8_t { kList, kShow, kCreate, kSet, kReset, kRevoke };
  Action action = Action::kList;
  std::string name;
  std::string node;                        // revoke
  std::optional<std::uint64_t> min_peers;  // set
  TrainingRules rules;                     // create
  bool json = false;
};
[[nodiscard]] Status RunTraining(const TrainingRequest& request, SnClient& client,
                                 std::ostream& out);

struct StatusRequest {
  bool json = false;
  bool watch = false;
  Duration every = 2s;
};
// With `watch` until `stop`, printing again whenever something has changed. `pause` waits, and
// answers false when stopped.
[[nodiscard]] Status RunStatus(const StatusRequest& request, SnClient& client, const Clock& clock,
                               const std::function<bool(Duration)>& pause, std::ostream& out);

// 0 ok, 1 failed, 2 usage, 3 still waiting, 4 refused.
[[nodiscard]] int ExitCodeOf(const Status& status);

}  // namespace starling
