// `starling verify`: every signature, the running head, every blob, and every merge again, offline.
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <utility>

#include "base/fs.h"
#include "base/text.h"
#include "tensor/merge.h"
#include "tools/source.h"
#include "tools/tools.h"

namespace starling {
namespace {

using Blobs = std::multimap<Digest, StoredBlob>;

struct Tally {
  std::size_t entries = 0, ignored = 0, blobs = 0, repeated = 0, not_repeated = 0;
  bool updates_missing = false;  // that is why at least one merge was not repeated
  std::vector<std::string> faults;
  Json rounds = Json::array();
};

Result<Slice> Open(const Blobs& blobs, const Digest& root) {
  const auto [begin, end] = blobs.equal_range(root);
  Status last = absl::NotFoundError(StrCat(ShortText(root), ": not kept"));
  for (auto it = begin; it != end; ++it) {
    last = CheckBlob(it->second);
    if (last.ok()) return MapFile(it->second.path);
  }
  return last;
}

struct Terms {
  std::vector<Slice> updates;
  std::vector<std::uint64_t> weights;
};

// The updates that enter the merge, in P's order.
Result<Terms> Collect(const RoundStory& round, const Blobs& blobs) {
  Terms terms;
  for (const Member& member : round.members) {
    if (round.kind == MergeKind::kCopyOfLeader && member.name != round.leaders.back()) continue;
    if (!member.update || (member.weight == 0 && round.kind == MergeKind::kMean)) continue;
    ASSIGN_OR_RETURN(Slice update, Open(blobs, *member.update));
    terms.updates.push_back(std::move(update));
    terms.weights.push_back(member.weight);
  }
  return terms;
}

Status MergeAgain(const RoundStory& round, const Terms& terms, ByteSpan base, Bytes& merged) {
  if (round.kind == MergeKind::kBase) {
    merged.assign(base.begin(), base.end());
    return absl::OkStatus();
  }
  const ByteSpan first = terms.updates.front().bytes;
  if (round.kind == MergeKind::kCopyOfLeader) {
    merged.assign(first.begin(), first.end());
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const Layout layout, Layout::Parse(first));
  // Roots prove the bytes, not that they fit together: a ledger may name any file.
  for (const Slice& update : terms.updates) {
    if (update.bytes.size() != layout.size())
      return absl::DataLossError("the updates of one round differ in size");
  }
  if (!base.empty() && base.size() != layout.size())
    return absl::DataLossError(StrCat("the updates have ", layout.size(),
                                      " bytes, the model of the round before ", base.size()));
  merged.resize(layout.size());
  MeanMerger merger(layout);
  for (std::uint64_t chunk = 0; chunk < ChunkCount(layout.size()); ++chunk) {
    const ByteRange range = ChunkRange(layout.size(), chunk);
    const auto part = [&](ByteSpan blob) { return blob.subspan(range.begin, range.size()); };
    merger.Begin(chunk);
    for (std::size_t i = 0; i < terms.updates.size(); ++i)
      merger.Add(part(terms.updates[i].bytes), terms.weights[i]);
    merger.Finish(base.empty() ? base : part(base),
                  MutableByteSpan(merged).subspan(range.begin, range.size()));
  }
  return absl::OkStatus();
}

constexpr std::string_view kNotKept = "updates not kept";

// "" when the merge gives the sealed root; else why it was not repeated or what is wrong. `merged`
// carries M from round to round.
struct RoundCheck {
  bool repeated = false;
  std::string text;
};
RoundCheck CheckRound(const RoundStory& round, const Blobs& blobs,
                      std::optional<Digest>& merged_root, Bytes& merged) {
  const Result<Terms> terms = Collect(round, blobs);
  if (absl::IsNotFound(terms.status())) return {false, std::string(kNotKept)};
  if (!terms.ok()) return {true, std::string(terms.status().message())};
  if (terms->updates.empty() && round.kind != MergeKind::kBase)
    return {true, "no update has a weight, yet the round was sealed"};
  Slice base_file;
  ByteSpan base;
  if (round.base) {
    if (merged_root == round.base) {
      base = merged;
    } else {
      Result<Slice> kept = Open(blobs, *round.base);
      if (!kept.ok())
        return {false, StrCat("the model of the round before: ", kept.status().message())};
      base_file = *std::move(kept);
      base = base_file.bytes;
    }
  }
  Bytes result;
  if (Status status = MergeAgain(round, *terms, base, result); !status.ok())
    return {true, std::string(status.message())};
  const Digest root = RootOf(result);
  merged = std::move(result);
  merged_root = root;
  if (root == *round.root) return {true, ""};
  return {true,
          StrCat("the merge gives ", ShortText(root), ", sealed was ", ShortText(*round.root))};
}

void CheckTraining(const TrainingStory& training, const Blobs& blobs, bool quiet, Tally& tally) {
  Bytes merged;
  std::optional<Digest> merged_root;
  for (const auto& [number, round] : training.rounds) {
    if (!round.root) continue;
    const RoundCheck check = CheckRound(round, blobs, merged_root, merged);
    ++(check.repeated ? tally.repeated : tally.not_repeated);
    if (check.text == kNotKept) tally.updates_missing = true;
    const std::string label = StrCat(training.name.value(), " round ", number.value());
    if (check.repeated && !check.text.empty())
      tally.faults.push_back(StrCat(label, ": ", check.text));
    tally.rounds.push_back({{"training", training.name.value()},
                            {"round", number.value()},
                            {"root", RootText(*round.root)},
                            {"repeated", check.repeated},
                            {"text", check.text}});
    if (quiet) continue;
    std::cout << label << "  model " << ShortText(*round.root) << "  "
              << (!check.repeated ? "not repeated: " + check.text
                                  : (check.text.empty() ? StrCat("merge of ", round.members.size(),
                                                                 " repeated: same bytes")
                                                        : check.text))
              << "\n";
  }
}

void CheckLedger(const std::string& path, Tally& tally, std::vector<TrainingStory>& trainings) {
  Result<Story> story = ReadStory(path);
  if (!story.ok()) {
    tally.faults.emplace_back(story.status().message());
    return;
  }
  tally.entries += static_cast<std::size_t>(story->entries());
  tally.ignored += story->ignored().size();
  for (const TrainingStory& training : story->trainings()) trainings.push_back(training);
}

void Print(const Tally& tally, bool json) {
  if (json) {
    std::cout << Json{{"entries", tally.entries}, {"ignored", tally.ignored},
                      {"blobs", tally.blobs},     {"rounds", tally.rounds},
                      {"faults", tally.faults},   {"ok", tally.faults.empty()}}
                     .dump(2)
              << "\n";
    return;
  }
  std::cout << StrCat(tally.entries, " entries: signatures and running head good, ", tally.ignored,
                      " ignored; ", tally.blobs, " files match their roots; ", tally.repeated,
                      " merges repeated, ", tally.not_repeated, " not\n");
  if (tally.updates_missing)
    std::cout
        << "next: nodes that run with --keep-updates keep what the other merges are made of\n";
}

}  // namespace

int Verify(const VerifyOptions& options, const ToolContext& /*context*/) {
  Tally tally;
  std::vector<TrainingStory> trainings;
  std::size_t ledgers = 0;
  for (const std::string& path : options.paths) {
    const Result<std::string> ledger = FindLedger(path);
    if (!ledger.ok()) continue;  // A folder of updates only.
    ++ledgers;
    CheckLedger(*ledger, tally, trainings);
  }
  const Result<Blobs> blobs = FindBlobs(options.paths);
  if (ledgers == 0 || !blobs.ok()) {
    const Status why = blobs.ok()
                           ? WithNext(absl::NotFoundError("none of these paths holds a ledger.db"),
                                      "name the directory of a run, or a copy of an SN's ledger.db "
                                      "beside the nodes' folders")
                           : blobs.status();
    std::cerr << ErrorLine(why, "starling verify") << "\n";
    return 1;
  }
  for (const auto& [root, blob] : *blobs) {
    const Status status = CheckBlob(blob);
    if (status.ok())
      ++tally.blobs;
    else
      tally.faults.emplace_back(status.message());
  }
  for (const TrainingStory& training : trainings)
    CheckTraining(training, *blobs, options.json, tally);
  if (tally.faults.empty() || options.json) Print(tally, options.json);
  for (const std::string& fault : tally.faults) {
    std::cerr << ErrorLine(WithNext(WithCode(absl::DataLossError(fault), "altered"),
                                    "compare with the copy of another node"),
                           "starling verify")
              << "\n";
  }
  return tally.faults.empty() ? 0 : 1;
}

}  // namespace starling
