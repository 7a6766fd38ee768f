// Sn: one SN of a simulated swarm: the production decider over its copy of the log, and a driver
// that does what src/sn does without HTTP: the sentinel orders the embedded log, others follow it,
// verify, forward and serve; on a chain every SN appends and speaks by its rank. One thread.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/sn_decider.h"
#include "simulation/clock.h"
#include "simulation/scene.h"

namespace starling::simulation {

// What an SN answers to an append.
struct PostAnswer {
  enum class Code : std::uint8_t { kStored, kSeqUsed, kNever, kLater, kSplit };
  Code code = Code::kLater;
  std::string why;
};
struct EnrolAnswer {
  enum class Code : std::uint8_t { kIn, kSignAgain, kRefused, kLater, kSplit };
  Code code = Code::kLater;
  std::string why;
  Place place;  // of the entry, or to sign with
};
struct TailAnswer {
  Log log;              // what is final here; null: nothing that follows
  std::string trouble;  // "split ledger: …"
};
template <typename T>
using Respond = std::function<void(T)>;

class Sn {
 public:
  Sn(Scene& scene, Host host, std::size_t number);
  Sn(const Sn&) = delete;
  Sn& operator=(const Sn&) = delete;

  void Start();
  void Crash(bool machine);
  void LoseDisk();                 // of a follower
  void Restore(std::int64_t end);  // of the sentinel: its log from an old copy
  void FillDiskUntil(Instant at) { disk_full_until_ = at; }
  void LoseHomeUntil(Instant at);
  void LeapClock(Duration by);
  void OnHome();  // the home has changed

  // Requests; `seen` is the newest final place of whoever asks.
  void ServeTail(Host from, const Place& seen, const Respond<TailAnswer>& respond);
  void ServePost(Host from, const std::string& entry, const Place& seen,
                 const Respond<PostAnswer>& respond);
  void ServeEnrol(Host from, const std::string& claim, const Place& seen,
                  const Respond<EnrolAnswer>& respond);
  void ServeLog(const Respond<Log>& respond) const { respond(final_); }

  // Signs and appends at once, if it can; what an operator or a hasty SN says.
  bool Say(const std::vector<Event>& events);
  // Entry 0 and, when asked for, the training.
  void Found(bool create);

  // Whether it would put an entry into the log now.
  [[nodiscard]] bool CanAppend() const;
  [[nodiscard]] bool orders() const { return sentinel_ || !scene_.home.is_final_at_once(); }
  [[nodiscard]] Host host() const { return host_; }
  [[nodiscard]] const SigningKey& key() const { return key_; }
  [[nodiscard]] const NodeName& name() const { return name_; }
  [[nodiscard]] const Log& end() const { return end_; }
  [[nodiscard]] const Log& final() const { return final_; }
  [[nodiscard]] const std::string& split() const { return split_; }
  [[nodiscard]] std::string WaitingText() const { return waiting_; }

 private:
  struct Waiter {
    Place seen;
    Respond<TailAnswer> respond;
  };
  void ReadHome();
  void Wake();  // waiters, decisions
  void AnswerWaiters();
  void Decide();
  void CloseAlone();
  void DecideLater(Instant at);
  bool AppendOwn(const std::vector<SnTodo::Append>& appends);
  void Ask(const Probe& probe);
  [[nodiscard]] std::string Sign(const ContractName& contract, const Event& event,
                                 std::uint64_t seq) const;
  [[nodiscard]] std::uint64_t NextSeq() const;
  [[nodiscard]] Rules CreatedRules(bool filled) const;
  EnrolAnswer Enrol(const std::string& claim);
  PostAnswer Post(const std::string& entry);
  // "" when `seen` fits this log; "later" when it is ahead; else the alarm.
  std::string CheckSeen(Host from, const Place& seen);
  void Alarm(const std::string& why);
  void Follow();
  void Recover();
  void TakeFrom(Host other);
  void Adopt(const Log& log);

  Scene& scene_;
  const Host host_;
  const bool sentinel_;
  const NodeName name_;
  const SigningKey key_;
  HostClock clock_;
  // Its copy; a follower's and the sentinel's are on the disk.
  Log end_;
  Log final_;
  std::optional<SnDecider> decider_;
  std::vector<Waiter> waiters_;
  std::optional<Instant> wake_at_;
  std::uint64_t wake_number_ = 0;
  Instant quiet_until_{};
  std::uint64_t seq_ = 0;
  std::set<Host> recovering_from_;  // a sentinel decides nothing before they have answered
  bool deciding_ = false;
  Instant disk_full_until_{};
  Instant home_away_until_{};
  std::string split_;
  std::string waiting_;
};

}  // namespace starling::simulation
