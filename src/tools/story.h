// Story: what a ledger tells, round by round, for people: `explain`, the lines of `run` and `demo`,
// and the list of merges that `verify` repeats. It replays the entries itself, so it believes no
// SN. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ledger/ledger.h"
#include "protocol/replay.h"

namespace starling {

// One close of a round, and what came of it.
struct AttemptStory {
  struct Blame {
    NodeName by;
    std::vector<NodeName> on;
    std::string why;  // the words of StallWhyText, with commas
  };
  AttemptId attempt;
  NodeName leader;
  std::vector<NodeName> members;
  std::vector<NodeName> left_out;  // had something to bring, and the SN closed without them
  std::vector<Blame> blames;
  std::map<NodeName, Digest> votes;  // the root that each has signed, in time or too late
  std::vector<NodeName> removed;     // opened again without them; empty: sealed, or under way
  std::int64_t closed_unix_ms = 0;
  std::int64_t reopened_unix_ms = 0;
};

// A known node that went, or that enrolled anew.
struct PresenceStory {
  NodeName node;
  bool gone = false;
  std::string by;        // who said that it is gone
  bool new_key = false;  // of one that came back: a wiped disk
};

struct RoundStory {
  RoundId round;
  AttemptId attempt;
  bool closed = false;
  std::optional<Digest> base;
  Digest set{};
  MergeKind kind = MergeKind::kMean;
  std::vector<Member> members;
  std::vector<NodeName> leaders;  // of every attempt, in order: "b > c" for people
  std::map<NodeName, CheckinReport> reports;
  std::map<NodeName, std::int64_t> checked_in_unix_ms;
  std::map<NodeName, MergedReport> votes;  // what each voter measured
  std::vector<AttemptStory> attempts;      // at least one once it was closed
  std::vector<PresenceStory> presence;     // who went and came while it was open, in order
  std::set<NodeName> holders;
  std::int64_t opened_unix_ms = 0;
  std::int64_t closed_unix_ms = 0;
  std::int64_t sealed_unix_ms = 0;
  std::optional<Digest> root;  // once sealed
};

struct TrainingStory {
  ContractName name;
  Position instance;
  Rules rules;
  std::map<RoundId, RoundStory> rounds;
  std::set<NodeName> nodes;
  bool done = false;
  [[nodiscard]] const RoundStory* LastSealed() const;
};

struct IgnoredEntry {
  std::int64_t position = 0;
  std::string type;
  std::string author;
  std::string reason;
};

class Story {
 public:
  // The next record. The error names the entry whose running head does not follow; later records
  // are then meaningless.
  [[nodiscard]] Status Add(const LedgerRecord& record);
  [[nodiscard]] const std::vector<TrainingStory>& trainings() const { return trainings_; }
  [[nodiscard]] const std::vector<IgnoredEntry>& ignored() const { return ignored_; }
  [[nodiscard]] const Replay& replay() const { return replay_; }
  [[nodiscard]] std::int64_t entries() const { return replay_.place().position.value() + 1; }
  // The newest instance of `name` ("": the only training). NotFound says what there is.
  [[nodiscard]] Result<const TrainingStory*> Find(const std::string& name) const;

 private:
  TrainingStory& Training(const Contract& contract, std::int64_t now_unix_ms);
  void Tell(const Statement& statement, const Verdict& verdict, const Contract& before_or_now,
            const Contract& now, std::int64_t now_unix_ms);
  void TellLateVote(const Statement& statement, const Verdict& verdict);

  Replay replay_;
  std::vector<TrainingStory> trainings_;
  std::vector<IgnoredEntry> ignored_;
};

// What went wrong in a round: who was blamed by whom and for what, who voted for another model, who
// was left out or away. "" when nothing did.
[[nodiscard]] std::string TroubleLines(const RoundStory& round);
// One line a round: "round 3   a b c   leader b   model 3f2a91c0   loss …   0.04 s"; and the
// paragraph that `explain` prints.
[[nodiscard]] std::string RoundLine(const RoundStory& round);
[[nodiscard]] std::string RoundParagraph(const TrainingStory& training, const RoundStory& round);
// "same final model on 3 of 3 nodes", "" while nothing is sealed.
[[nodiscard]] std::string HoldersLine(const TrainingStory& training);
[[nodiscard]] Json StoryJson(const TrainingStory& training, std::optional<RoundId> only);

}  // namespace starling
