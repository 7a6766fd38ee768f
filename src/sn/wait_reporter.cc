#include "sn/wait_reporter.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace starling {
namespace {

constexpr Duration kPatience = 5s;

}  // namespace

std::vector<std::string> WaitReporter::Due(const Snapshot& snapshot, const Moment& moment,
                                           const std::vector<Waiting>& own) {
  std::vector<std::string> lines;
  std::map<Key, Instant> said;
  const auto look = [&](const Waiting& waiting) {
    Key key{waiting.contract, ""};
    if (waiting.trouble) key.second = waiting.on.empty() ? waiting.what : waiting.on[0].value();
    if (said.contains(key)) return;
    const auto before = said_.find(key);
    Instant due = waiting.since + kPatience;
    if (before != said_.end()) due = std::max(due, before->second + kPatience);
    if (moment.now < due) {
      if (before != said_.end()) said.insert(*before);
      return;
    }
    said[key] = moment.now;
    const std::string of =
        waiting.contract.value().empty() ? "" : StrCat("training ", waiting.contract.value(), ": ");
    lines.push_back(StrCat(of, WaitSentence(waiting, FormatLocalTime(moment.At(waiting.since)))));
  };
  for (const Waiting& waiting : own) look(waiting);
  for (const Waiting& waiting : snapshot.waiting) look(waiting);
  said_ = std::move(said);  // What waits no more starts afresh.
  return lines;
}

}  // namespace starling
