// SnCore: the one writer of the ledger, or of a following SN's copy. It owns the replay and the
// decider; every append is checked against the replay, decided upon, made durable and published in
// one go, so the entry that completes a round and the round's close share one write to disk. Any
// thread; appends are serialised by one lock, which is held over the disk on purpose: readers use
// the Feed and never wait for it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "crypto/ed25519.h"
#include "identity/spiffe_id.h"
#include "ledger/ledger.h"
#include "protocol/replay.h"
#include "protocol/sn_decider.h"
#include "sn/feed.h"

namespace starling {

struct SnCoreOptions {
  SnOptions decider;
  bool auto_create = true;
  // False at a following SN: it takes what the sentinel has ordered, and says nothing itself.
  bool orders = true;
  // Not OK: held from the start (see Hold).
  Status hold;
};

// Whose word is enough for an entry. kOrdered: it comes from who orders the log, so it is in it,
// void or not. kSigned: anybody may have made it up, so each entry must pass its header test.
enum class Trust : std::uint8_t { kOrdered, kSigned };

// What a following SN waits for while its sentinel is away; shown with every training.
struct UpstreamWait {
  std::string what;
  Instant since;
  std::string next;
  friend bool operator==(const UpstreamWait&, const UpstreamWait&) = default;
};

class SnCore {
 public:
  struct Deps {
    Ledger& ledger;
    const Clock& clock;
    const SigningKey& key;
    Feed& feed;
    Log log;
    std::function<void()>
        on_decided;  // after each decision: the time to wake at may be another one now
    // Performs a probe and says what came of it with OnProbe; called under our lock, so never
    // blocks. Empty: the decider asks for none.
    std::function<void(const Probe&)> probe;
  };
  // Replays the whole ledger and publishes it. Decides nothing: OnTime() does, once whoever owns
  // this can hand it the probes' answers.
  static Result<std::unique_ptr<SnCore>> Open(const SnCoreOptions& options, const Deps& deps);
  SnCore(const SnCore&) = delete;
  SnCore& operator=(const SnCore&) = delete;

  // Entry 0. FailedPrecondition when the ledger is not empty.
  Status CreateLedger(const NodeName& name, const std::string& api_url);
  // Is `key` the one that made this ledger? Only who made it orders it. Codes: wrong-ledger-key,
  // not-the-sentinel (it is that of an SN which joined later).
  [[nodiscard]] Status CheckFounder() const;

  struct Appended {
    Place end;
    std::vector<std::string> ignored;                        // one a posted entry, "" when valid
    std::vector<std::pair<ContractName, NodeName>> authors;  // who signed them
  };
  // What SLs say. All or nothing; refusals are those of CheckHeader. The very same bytes again are
  // a success, so that an author whose answer was lost can repeat them.
  Result<Appended> Append(std::span<const std::string> entries);

  // An SL's claim, wrapped and appended. Codes: seen-too-old (the training was created just now, or
  // began after the claim was signed), no-such-training, training-done, refused, claim-used,
  // name-taken, split-ledger, bad-claim.
  Result<Place> Enrol(const ContractName& contract, std::string_view claim, const SpiffeId& peer);

  // Another SN's claim, wrapped and appended; the end once it is in. The same key under the same
  // name again is a success. Codes: bad-claim, name-taken, refused, split-ledger, seen-ahead.
  Result<Place> Join(std::string_view claim);

  // What an operator says: contract-created, -reset, -amended, node-revoked. Answers the entry's
  // position.
  Result<Position> Operate(const ContractName& contract, Event event);

  // Records of another copy of this log: what is here already is compared, the rest is verified
  // head by head, made durable with its times, replayed and published. Codes: split-ledger,
  // does-not-follow (the first new one has another predecessor than our end), bad-entry (its header
  // test failed), ledger-unavailable. Answers the end.
  Result<Place> Take(std::span<const LedgerRecord> records, Trust trust);

  // Nothing is appended or decided until Release(); appends answer `why`, which /readyz shows. A
  // halt is a hold that lasts until the process ends.
  void Hold(Status why);
  void Release();
  void Halt(Status why);
  // Of a following SN: nothing, or what keeps its sentinel away.
  void SetUpstreamWait(std::optional<UpstreamWait> wait);

  // Time has passed, or a probe was answered: decides again and appends what is due.
  void OnTime();
  void OnProbe(ProbeId id, const ProbeAnswer& answer);
  [[nodiscard]] std::optional<Instant> wake_at() const;
  // OK, or why nothing can be appended now, and since when. Waits for no append.
  [[nodiscard]] Status health() const;
  [[nodiscard]] Instant unhealthy_since() const;
  // Looks whether the ledger could be written to, and remembers the answer for health(): a lock
  // that another process holds is known before anybody appends. May block for two seconds.
  void CheckLedger();

 private:
  SnCore(const SnCoreOptions& options, const Deps& deps)
      : options_(options),
        deps_(deps),
        decider_(DeciderOptions(options, deps)),
        hold_(options.hold),
        held_since_(deps.clock.Now()) {}
  [[nodiscard]] static SnOptions DeciderOptions(const SnCoreOptions& options, const Deps& deps);

  Status ReloadLocked();
  Verdict StageLocked(std::string entry);
  Verdict StageOwnLocked(const ContractName& contract, Event event);
  [[nodiscard]] std::string SignLocked(const ContractName& contract, Event event) const;
  Status CheckRepeatLocked(std::span<const std::string> entries) const;
  Status StagePostedLocked(std::span<const std::string> entries, Appended& out);
  Status AutoCreateLocked(const ContractName& contract, const SpiffeId& peer);
  [[nodiscard]] Status MayAppendLocked() const;
  void ShowWaitsLocked();
  Status CompareLocked(const LedgerRecord& record) const;
  Status CheckFollowsLocked(std::span<const LedgerRecord> records) const;
  void DecideLocked();
  void DecideAndCommitLocked();
  Status FlushLocked();
  Status CommitLocked();
  void PublishLocked();
  void ShowHealthLocked();
  void LogChangesLocked(const LedgerState& before) const;

  const SnCoreOptions options_;
  const Deps deps_;
  mutable std::mutex mutex_;
  Replay replay_;  // may be ahead of the ledger by `staged_`, never while the lock is free
  SnDecider decider_;
  Place committed_;  // the ledger's end
  std::vector<std::string> staged_;
  std::vector<EntryNote> notes_;  // of entries not yet published
  std::vector<Waiting> waiting_;
  std::optional<Instant> wake_at_;
  Instant quiet_until_{};  // the decider is not heeded before
  Status broken_;
  Status hold_;
  Instant held_since_{};
  bool halted_ = false;
  std::optional<UpstreamWait> upstream_wait_;
  // What health() answers: an append may hold mutex_ for as long as the disk takes.
  struct Shown {
    Status health;
    Instant since;
  };
  Guarded<Shown> shown_;
};

}  // namespace starling
