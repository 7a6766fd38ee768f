// NodeLoop: the one thread that owns an SL's state: replay, decider, what the program waits for.
// Everything else sends it mail: the bridge, the SN link, the transfer worker, the keeper, the
// program's watcher. Run() is called once, on the thread that made it.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/mailbox.h"
#include "http/async_requests.h"
#include "http/health.h"
#include "protocol/needed_models.h"
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
struct ProbeDone {
  ProbeId id;
  ProbeAnswer answer;
};
using LoopEvent = std::variant<BridgeEvent, HashedUpdate, SnEvent, MergeDone, FetchDone, KeepDone,
                               ProbeDone, ProgramEnd>;

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
  std::optional<Digest> initial;  // --initial: the model that this node brings along
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
  // These are made after the loop, as they send it mail.
  void Connect(SnLink& link, Bridge& bridge, AsyncRequests& probes);
  // How to find a process of the training program that is stopped (SIGSTOP); asked once a second.
  void WatchProgram(std::function<std::optional<int>()> stopped_process);
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
  void Handle(const ProbeDone& done);
  void Handle(ProgramEnd end);
  void HandleFrame(ProgramFrame frame);
  void Open(const OpenFrame& frame);
  void HashAndPost(std::optional<FinishMode> finish,
                   CheckinReport report);  // on the bridge's thread
  void OnNews(const LedgerNews& news);
  void OnRefusal(const SnRefusal& refusal);
  void ReportDisk(const Status& status);
  void Merged(const MergeJob& job, const MergeOutcome& outcome);
  void StartMerge(MergeJob job);
  Result<bool> BringBase(const MergeJob& job, MutableByteSpan arena,
                         const std::stop_token& stop) const;  // on transfer_
  void MergeFailed(const MergeDone& done, const Status& why);
  [[nodiscard]] bool IsOpen(const MergeJob& job) const;
  void ResolveTrouble(Instant now);
  void ClearArena();
  // What outlives a restart (node_restart.cc).
  Status Resume();
  void MakeDecider(SlMemory memory);
  void FindAttempts();
  [[nodiscard]] bool GoBackForProgram();
  [[nodiscard]] Status EnsureArenas();
  [[nodiscard]] Result<Layout> LayoutOnDisk() const;
  [[nodiscard]] std::optional<OfferedUpdate> OwnUpdate(const MergeJob& job) const;
  [[nodiscard]] Status MakeArenas(std::shared_ptr<const Layout> layout);
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
  void Do(const StoreUpdateEffect& effect);
  void Do(const DropUpdateEffect& effect);
  void Do(const ProbeEffect& effect);
  void Do(const ExitEffect& effect);
  void SendEnrolment();
  void SendClaimAgainIfLost(Instant now);
  void KeepWhatIsNeeded();
  void Started();
  void SendOpenedIfEnrolled();
  void TellEnrolled();

  [[nodiscard]] const LedgerState& state() const { return replay_.state(); }
  [[nodiscard]] const Contract* contract() const;
  // This node, in the instance that it takes part in; null before it does.
  [[nodiscard]] const Node* OwnNode() const;
  [[nodiscard]] Duration NextWait(Instant now) const;
  void Tick(Instant now);
  // What is wrong with this node itself (node_troubles.cc).
  struct OwnTrouble {
    Trouble trouble;
    Instant since;
  };
  void LookAtTroubles(Instant now);
  void SayTroubles(Instant now);
  [[nodiscard]] std::vector<Trouble> TroublesToTell() const;
  [[nodiscard]] std::string SentenceOf(const OwnTrouble& own, Instant now) const;
  [[nodiscard]] std::string TroubleText(const std::string& component, Instant now) const;
  void PerformHeld(Instant now);
  void Do(const RememberEffect& effect);
  // What this node waits for, "" when for nothing.
  [[nodiscard]] std::string WaitText(Instant now) const;
  void SayWait(Instant now);
  void UpdateReadiness(Instant now);
  [[nodiscard]] std::uint64_t NextSeq();
  [[nodiscard]] Slice ArenaSlice(const std::shared_ptr<Arena>& arena) const;
  [[nodiscard]] std::string SchemaDifference() const;
  [[nodiscard]] bool ProgramRuns() const;
  [[nodiscard]] bool HasFinished() const;
  void Fail(Status why);  // The node ends with this error; the program is told.
  void ProgramEnded();
  // The program's end is the reason; its exit code is passed on.
  void ProgramFailed(const Status& why);
  void SayAway(const std::string& why);
  void WriteResult();
  void RemoveResult() const;
  [[nodiscard]] std::string result_path() const;
  void LeaveIfOver();
  void Stop();  // It was told to.

  const NodeParts parts_;
  Mailbox<LoopEvent> mail_;
  SnLink* link_ = nullptr;
  Bridge* bridge_ = nullptr;
  AsyncRequests* probes_ = nullptr;
  Replay replay_;
  std::optional<SlDecider> decider_;
  std::shared_ptr<const Session>
      session_;  // replaced whole; the bridge's thread reads it through session_shared_
  Guarded<std::shared_ptr<const Session>> session_shared_;
  bool program_opened_ = false;  // a session is open, not only remembered
  bool opened_sent_ = false;
  bool enrol_again_ = false;
  bool resumed_ = false;                   // goes on where an earlier process was enrolled
  bool replayed_ = false;                  // the log, to its end
  std::shared_ptr<const Contract> ended_;  // the training that this node was in, once it is over
  std::map<std::string, Event> said_;      // sent, and not seen in the log so far
  // The claim that was sent last.
  struct Claim {
    std::optional<Position> instance;  // that it names
    std::string text;
    Position seen{-1};
    std::optional<Position> stored;  // accepted by the SN there, not read in the log so far
    Instant again{};                 // when it counts as lost
  };
  Claim claim_;
  std::optional<Status> refused_;  // the last word of the SN on the claim, for people
  std::uint64_t seq_ = 0;
  std::optional<OfferedUpdate> update_;
  std::uint64_t update_keep_ = 0;  // number of its keep job
  NeededModels needed_;
  std::string disk_trouble_;                    // why the disk refuses what is to be kept
  std::string home_trouble_;                    // … and home.json
  std::vector<SlEffect> held_;                  // wait for home.json, in order
  std::optional<Instant> held_again_;           // when it is tried again
  std::map<std::string, OwnTrouble> troubles_;  // by component of /readyz
  std::function<std::optional<int>()> stopped_process_;
  Instant trouble_word_{};            // when the log says the next word of them
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
  // A merge that failed or is not proven here. It is tried again while its attempt is open; the
  // log may say in a moment that the round is over anyway.
  struct MergeTrouble {
    MergeJob job;
    Status why;
    std::optional<MergeOutcome> outcome;  // M, when only its audit is missing
    Instant again;
  };
  std::optional<MergeTrouble> trouble_;
  Duration merge_pause_{};
  // The merge that the log shows, for the line that a round gets.
  struct OpenMerge {
    RoundId round;
    AttemptId attempt;
    NodeName leader;
    Instant since;
  };
  std::optional<OpenMerge> open_merge_;
  std::optional<RoundId> told_round_;

  bool drains_ = false;                   // was stopped, and ends once it is over
  bool over_ = false;                     // the training is done and everybody has the model
  std::optional<Status> failure_;         // why this node ends
  std::optional<Instant> failing_until_;  // until then the program may end by itself
  std::optional<Result<int>> exit_;
  std::unique_ptr<Keeper> keeper_;
  std::jthread transfer_;
};

}  // namespace starling
