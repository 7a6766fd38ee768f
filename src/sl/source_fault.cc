#include "sl/source_fault.h"

#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr const char* kSources = "starling/sources";  // per node: its name, a space, why as digit

StallWhy WhyOf(const Status& status) {
  const std::string code = StableCode(status);
  if (code == "wrong-merge") return StallWhy::kRoot;
  if (code == "lost-update") return StallWhy::kLost;
  if (absl::IsDataLoss(status)) return StallWhy::kWrongBytes;
  return absl::IsDeadlineExceeded(status) ? StallWhy::kSilent : StallWhy::kRefused;
}

std::string SourcesText(const Status& status) {
  const auto sources = status.GetPayload(kSources);
  return sources ? std::string(*sources) : "";
}

}  // namespace

Status WithSource(Status status, const NodeName& node) {
  if (status.ok() || absl::IsCancelled(status) || status.GetPayload(kSources)) return status;
  // Without a certificate of its own a node reaches nobody, and nobody else is to blame.
  if (StableCode(status) == "no-identity") return status;
  status.SetPayload(kSources,
                    absl::Cord(StrCat(node.value(), " ", static_cast<int>(WhyOf(status)), "\n")));
  return status;
}

Status WithAllSources(const std::vector<Status>& failures) {
  Status all = failures.front();
  std::string sources;
  for (const Status& failure : failures) sources += SourcesText(failure);
  if (!sources.empty()) all.SetPayload(kSources, absl::Cord(sources));
  return all;
}

std::vector<SourceFailure> SourceFailuresOf(const Status& status) {
  std::vector<SourceFailure> failures;
  const std::string text = SourcesText(status);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t space = text.find(' ', at), end = text.find('\n', at);
    failures.push_back(
        {NodeName(text.substr(at, space - at)), static_cast<StallWhy>(text[space + 1] - '0')});
    at = end + 1;
  }
  return failures;
}

}  // namespace starling
