// Sl: one SL of a simulated swarm: the production decider, and a driver that does what src/sl does
// without HTTP, over a simulated line to the SNs, transfers, disk and program. It outlives its own
// crashes; what a process knows is in Process and dies with it. One thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/needed_models.h"
#include "protocol/sl_decider.h"
#include "simulation/clock.h"
#include "simulation/disk.h"
#include "simulation/program.h"
#include "simulation/scene.h"
#include "simulation/sn.h"
#include "simulation/transfers.h"

namespace starling::simulation {

class Sl {
 public:
  Sl(Scene& scene, Host host);
  Sl(const Sl&) = delete;
  Sl& operator=(const Sl&) = delete;

  void Start(Duration opens_in);
  void Crash(bool machine);
  void LoseDisk();     // before a start; the ledger key goes with it
  void ProgramDies();  // the SL stays, says so and leaves
  void FillDiskUntil(Instant at) { disk_.FillUntil(at); }
  void LeapClock(Duration by);
  void Weigh(std::uint64_t weight) { weight_ = weight; }  // stated at the next enrolment

  // Requests of others.
  [[nodiscard]] std::optional<Progress> ProgressNow(Position instance) const;
  void ServeLog(const Respond<Log>& respond) const { respond(view()); }
  [[nodiscard]] Offer Serve(const Wanted& wanted, const NodeName& asker);

  [[nodiscard]] Host host() const { return host_; }
  [[nodiscard]] const NodeName& name() const { return habits_.name; }
  [[nodiscard]] const Habits& habits() const { return habits_; }
  [[nodiscard]] const SigningKey& key() const { return *key_; }
  [[nodiscard]] const Log& view() const;
  [[nodiscard]] const Program& program() const { return program_; }
  [[nodiscard]] const Disk& disk() const { return disk_; }
  [[nodiscard]] bool Holds(
      const Digest& root) const;  // the bytes of a merged model, durable or not
  [[nodiscard]] bool Offers(const Digest& update) const;
  // It will never start again by itself: all is done, or it was refused for good.
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool refused() const { return refused_; }
  [[nodiscard]] const std::string& split() const { return split_; }
  [[nodiscard]] std::string WaitingText() const;
  // Serving trouble for a while.
  void Trouble(Quality quality, Instant until);
  void Stay(bool honest) { honest_ = honest; }  // a liar may become honest when the storm is over

 private:
  friend class Transfers;
  struct Outgoing {
    Event event;
    std::string text;
    Instant stored{};  // at an SN; then until it is final
  };
  struct Process {
    explicit Process(SlDecider d) : decider(std::move(d)) {}
    SlDecider decider;
    Log view;
    bool started = false;  // the log was replayed up to its end
    std::uint64_t seq = 0;
    std::size_t sn = 0;  // in use
    Duration tail_pause{}, post_pause{};
    std::deque<Outgoing> outbox;  // the front one is being sent
    bool posting = false;
    std::vector<Outgoing> unfinal;
    std::string claim;
    std::optional<Position> enrolled_at, claim_instance;
    Instant claimed{};  // when the claim was stored; it may be taken back
    std::optional<Instant> wake_at;
    std::uint64_t wake_number = 0;
    std::optional<Digest> arena;            // the merged arena
    std::map<Digest, Digest> runs;          // set → M, served to participants
    std::map<Digest, std::size_t> keeping;  // written behind; its bytes are in memory
    NeededModels models;
    std::set<Digest> needed;  // merged models
    std::unique_ptr<Transfers> transfers;
  };

  // sl.cc: life
  void Perform(const std::vector<SlEffect>& effects);
  void Do(const EnrolEffect& effect);
  void Do(const AppendEffect& effect);
  void Do(const MergeEffect& effect);
  void Do(const AbandonEffect& effect);
  void Do(const FetchEffect& effect);
  void Do(const AnswerEffect& effect);
  void Do(const AttentionEffect& effect);
  void Do(const KeepEffect& effect);
  void Do(const StoreUpdateEffect& effect);
  void Do(const DropUpdateEffect& effect);
  void Do(const RememberEffect& effect);
  void Do(const ProbeEffect& effect);
  void Do(const ExitEffect& effect);
  [[nodiscard]] SlMemory ReadDisk();
  void Keep(const KeepEffect& kept);
  void FindAttempts();
  void KeepWhatIsNeeded();
  void Prune();
  void WakeLater();
  [[nodiscard]] bool Revoked(const Log& read) const;
  void StartAgain();
  [[nodiscard]] const LedgerState& state() const { return view()->state(); }
  [[nodiscard]] Instant now() const { return clock_.Now(); }
  // sl_link.cc: the line to the SNs
  void Tail();
  void OnTail(const Log& log);
  void OnSplit(const std::string& why);
  void PostNext();
  void OnPosted(const PostAnswer& answer);
  void ResendUnfinal();
  void SignClaim(const Place& seen);
  void PostClaim();
  void OnEnrolAnswer(const EnrolAnswer& answer);
  void TellEnrolled();
  void NextSn(Duration& pause);
  [[nodiscard]] std::uint64_t NextSeq();

  Scene& scene_;
  const Host host_;
  const Habits habits_;
  std::uint64_t keys_made_ = 0;
  std::optional<SigningKey> key_;  // on the disk
  HostClock clock_;
  Disk disk_;
  Program program_;
  std::unique_ptr<Process> process_;  // null: it does not run
  std::uint64_t weight_;
  Quality trouble_ = Quality::kGood;
  Instant trouble_until_{};
  std::uint64_t models_kept_ = 0;  // what a disk tells by times of files
  bool honest_ = false;
  bool ended_ = false;
  bool refused_ = false;
  std::string split_;
};

}  // namespace starling::simulation
