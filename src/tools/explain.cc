// `starling explain`: each round in words, from a run's directory, a ledger file or an SN.
#include <iostream>

#include "identity/pem_source.h"
#include "tools/source.h"
#include "tools/tools.h"

namespace starling {
namespace {

// The whole log of an SN; the story checks the running head as it goes.
Result<Story> AskSn(const std::string& url, const ExplainOptions& options,
                    const ToolContext& context) {
  ASSIGN_OR_RETURN(const Endpoint sn, Endpoint::Parse(url));
  Story story;
  for (;;) {
    ASSIGN_OR_RETURN(const std::vector<LedgerRecord> records,
                     FetchRecords(*options.http, sn, story.entries(), 0s, context.stop));
    if (records.empty()) return story;
    for (const LedgerRecord& record : records) RETURN_IF_ERROR(story.Add(record));
  }
}

// The first SN that answers.
Result<Story> AskSns(const ExplainOptions& options, const ToolContext& context) {
  Status last = absl::InvalidArgumentError("no network node is given");
  for (const std::string& url : options.sn_urls) {
    Result<Story> story = AskSn(url, options, context);
    if (story.ok()) return story;
    last = Annotate(story.status(), url);
    if (!absl::IsUnavailable(last) && !absl::IsDeadlineExceeded(last)) break;
  }
  return last;
}

Result<Story> FromDisk(const std::string& source) {
  ASSIGN_OR_RETURN(const std::string ledger, FindLedger(source));
  return ReadStory(ledger);
}

Status ExplainStory(const ExplainOptions& options, const ToolContext& context) {
  ASSIGN_OR_RETURN(const Story story,
                   options.source.empty() ? AskSns(options, context) : FromDisk(options.source));
  ASSIGN_OR_RETURN(const TrainingStory* const training, story.Find(options.contract));
  const std::optional<RoundId> only =
      options.round ? std::optional<RoundId>(RoundId{*options.round}) : std::nullopt;
  if (only && !training->rounds.contains(*only)) {
    return WithNext(absl::NotFoundError("the training has no such round"),
                    "leave --round out to see all");
  }
  if (options.json) {
    std::cout << StoryJson(*training, only).dump(2) << "\n";
    return absl::OkStatus();
  }
  std::cout << "Training " << training->name.value() << ", " << training->nodes.size() << " nodes, "
            << story.entries() << " entries\n\n";
  for (const auto& [number, round] : training->rounds) {
    if (only && *only != number) continue;
    if (!round.closed && round.reports.empty()) continue;
    std::cout << RoundParagraph(*training, round) << "\n";
  }
  if (const std::string line = HoldersLine(*training); !line.empty()) std::cout << line << "\n";
  for (const IgnoredEntry& entry : story.ignored()) {
    std::cout << "entry " << entry.position << " (" << entry.type << " by " << entry.author
              << ") ignored: " << entry.reason << "\n";
  }
  return absl::OkStatus();
}

}  // namespace

int Explain(const ExplainOptions& options, const ToolContext& context) {
  const Status status = ExplainStory(options, context);
  if (status.ok()) return 0;
  std::cerr << ErrorLine(status, "starling explain") << "\n";
  return 1;
}

}  // namespace starling
