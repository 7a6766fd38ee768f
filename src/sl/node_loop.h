// NodeLoop: the one thread that owns an SL's state: replay, decider, what the program waits for.
// Everything else sends it mail: the bridge, the SN link, the transfer worker, the keeper, the
// program's watcher. Run() is called once, on the thread that made it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/mailbox.h"
#include "http/health.h"
#include "protocol/replay.h"
#include "sl/blob_server.h"
#include "sl/bridge.h"
#include "sl/keeper.h"
#include "sl/learning_node.h"
#include "sl/merge_worker.h"
#include "sl/program.h"
#include "sl/sn_link.h"

namespace starling {

// The update in the arena, hashed on the bridge's thread while the program waits.
struct HashedUpdate {
  std::optional<FinishMode> finish;  // none: a sync point
  CheckinReport report;
  OfferedUpdate update;
};
struct MergeDone {
  MergeJob job;
  Result<MergeOutcome> outcome;
};
struct FetchDone {
  Digest root;
  Result<LeafList> leaves;
};
struct KeepDone {
  KeepJob job;
  Status status;
};
using LoopEvent =
    std::variant<BridgeEvent, HashedUpdate, SnEvent, MergeDone, FetchDone, KeepDone, ProgramEnd>;

struct NodeParts {
  const LearningNodeConfig& config;
  const LearningNodeDeps& deps;
  const SigningKey& key;
  HttpClient& peers;
  std::string blob_url;
  Board& board;
  BlobStore& store;
  BlobServer& server;
  HealthState& health;
};

class NodeLoop {
 public:
  explicit NodeLoop(NodeParts parts);
  ~NodeLoop();
  NodeLoop(const NodeLoop&) = delete;
  NodeLoop& operator=(const NodeLoop&) = delete;

  // Mail from any thread.
  void Post(LoopEvent event);
  // The bridge's events, on its thread: updates are hashed here, while the program waits anyway.
  void FromBridge(BridgeEvent event);
  // The link and the bridge are made after the loop, as they send it mail.
  void Connect(SnLink& link, Bridge& bridge);
  [[nodiscard]] Result<int> Run(const std::stop_token& stop);

 private:
  // What opening fixed.
  struct Session {
    ContractName contract;
    Rules stated;
    std::uint64_t weight = 1;
    SharedArenas arenas;
  };

  void Handle(BridgeEvent event);
  void Handle(const HashedUpdate& update);
  void Handle(SnEvent event);
  void Handle(MergeDone done);
  void Handle(FetchDone done);
  void Handle(const KeepDone& done);
  void Handle(ProgramEnd end);
  void HandleFrame(ProgramFrame frame);
  void Open(const OpenFrame& frame);
  void HashAndPost(std::optional<FinishMode> finish,
                   CheckinReport report);  // on the bridge's thread
  void OnNews(const LedgerNews& news);
  void OnRefusal(const SnRefusal& refusal);
  void Merged(const MergeJob& job, const MergeOutcome& outcome);
  void ResolveLag(Instant now);
  void ClearArena();
  void StartFetchIfDue();
  [[nodiscard]] Result<LeafList> Fetch(const Digest& root, MutableByteSpan blob,
                                       const std::stop_token& stop) const;  // on transfer_
  [[nodiscard]] std::vector<std::string> HolderUrls() const;
  [[nodiscard]] Puller MakePuller() const;
  void Observe(Instant now);

  void Perform(std::vector<SlEffect> effects);
  void Do(const EnrolEffect& effect);
  void Do(const AppendEffect& effect);
  void Do(MergeEffect effect);
  void Do(const AbandonEffect& effect);
  void Do(const FetchEffect& effect);
  void Do(const AnswerEffect& effect);
  void Do(const AttentionEffect& effect);
  void Do(const KeepEffect& effect);
  // The decider is not told that this driver can do these, so it asks for none of them.
  void Do(const StoreUpdateEffect& /*effect*/) {}
  void Do(const DropUpdateEffect& /*effect*/) {}
  void Do(const RememberEffect& /*effect*/) {}
  void Do(const ProbeEffect& /*effect*/) {}
  void Do(const ExitEffect& effect);
  void SendEnrolment();
  void SendOpenedIfEnrolled();
  void HoldIfKept(const Contract& now);
  void TellEnrolled();

  [[nodiscard]] const LedgerState& state() const { return replay_.state(); }
  [[nodiscard]] const Contract* contract() const;
  [[nodiscard]] Duration NextWait(Instant now) const;
  void Tick(Instant now);
  void UpdateReadiness();
  [[nodiscard]] std::uint64_t NextSeq();
  [[nodiscard]] Slice ArenaSlice(const std::shared_ptr<Arena>& arena) const;
  [[nodiscard]] std::string SchemaDifference() const;
  [[nodiscard]] bool ProgramRuns() const;
  void Fail(Status why);  // The node ends with this error; the program is told.
  // The program's end is the reason; its exit code is passed on.
  void ProgramFailed(const Status& why);
  void SayAway();
  void WriteResult();
  void LeaveIfOver();

  const NodeParts parts_;
  Mailbox<LoopEvent> mail_;
  SnLink* link_ = nullptr;
  Bridge* bridge_ = nullptr;
  Replay replay_;
  std::optional<SlDecider> decider_;
  std::shared_ptr<const Session>
      session_;  // replaced whole; the bridge's thread reads it through session_shared_
  Guarded<std::shared_ptr<const Session>> session_shared_;
  bool opened_sent_ = false;
  bool enrol_again_ = false;
  std::optional<Position> enrolled_at_;  // accepted by the SN, not read in the log so far
  Position enrol_seen_{-1};              // the place of the last claim
  std::uint64_t seq_ = 0;
  std::optional<OfferedUpdate> update_;
  std::uint64_t update_keep_ = 0;     // number of its keep job
  std::optional<Digest> arena_root_;  // what the merged arena holds, and its leaves
  std::shared_ptr<const LeafList> arena_leaves_;
  std::atomic<bool> arena_is_base_{false};  // for the norm, on the bridge's thread
  bool program_waits_ = false;
  std::optional<Instant> next_word_;  // when the program hears next what it waits for
  bool synced_ = false;
  bool finished_ = false;  // it asked to finish, or has the final model
  bool answered_over_ = false;
  std::optional<ResultFrame> result_;
  std::vector<std::string> program_lines_;  // from a `log` frame or the program's end
  std::optional<ProgramEnd> program_end_;
  bool bridge_closed_ = false;
  bool program_raised_ = false;  // it said goodbye with an exception

  bool merging_ = false;                // transfer_ computes a merge
  std::optional<Digest> fetch_wanted_;  // a sealed model to fetch once the arena is free
  // A merge that is not proven here: the log may say in a moment that the round is over anyway.
  struct Lag {
    MergeJob job;
    Status why;
    std::optional<MergeOutcome> outcome;  // M, when only its audit is missing
    Instant until;
  };
  std::optional<Lag> lag_;
  // The merge that the log shows, for the line that a round gets.
  struct OpenMerge {
    RoundId round;
    AttemptId attempt;
    NodeName leader;
    Instant since;
  };
  std::optional<OpenMerge> open_merge_;
  std::optional<RoundId> told_round_;

  bool over_ = false;                     // the training is done and everybody has the model
  std::optional<Status> failure_;         // why this node ends
  std::optional<Instant> failing_until_;  // until then the program may end by itself
  std::optional<Result<int>> exit_;
  std::unique_ptr<Keeper> keeper_;
  std::jthread transfer_;
};

}  // namespace starling
