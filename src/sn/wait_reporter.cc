#include "sn/wait_reporter.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace starling {
namespace {

constexpr Duration kPatience = 5s;

}  // namespace

std::vector<std::string> WaitReporter::Due(const Snapshot& snapshot, const Moment& moment) {
  std::vector<std::string> lines;
  std::map<ContractName, Instant> said;
  for (const Waiting& waiting : snapshot.waiting) {
    const auto before = said_.find(waiting.contract);
    Instant due = waiting.since + kPatience;
    if (before != said_.end()) due = std::max(due, before->second + kPatience);
    if (moment.now < due) {
      if (before != said_.end()) said.insert(*before);
      continue;
    }
    said[waiting.contract] = moment.now;
    std::string on;
    for (const NodeName& name : waiting.on) {
      StrAppend(&on, on.empty() ? ", waits for " : ", ", name.value());
    }
    lines.push_back(StrCat("training ", waiting.contract.value(), ": ", waiting.what, on,
                           ", since ", FormatLocalTime(moment.At(waiting.since)),
                           "; next: ", waiting.next));
  }
  said_ = std::move(said);  // A training that waits no more starts afresh.
  return lines;
}

}  // namespace starling
