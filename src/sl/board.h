// Board: what this SL offers to other nodes now, shared by the loop, the transfer worker and the
// connections' threads. Small values under one lock; no bytes of a model are copied or moved under
// it. Waits are woken, bounded and stoppable.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>

#include "base/bytes.h"
#include "base/clock.h"
#include "crypto/merkle.h"
#include "protocol/progress.h"
#include "protocol/state.h"

namespace starling {

// Names one owner's run of one merge.
struct RunKey {
  Position instance;
  RoundId round;
  Digest set;
  std::uint64_t owner = 0;
  friend auto operator<=>(const RunKey& a, const RunKey& b) = default;
};

// The update that the program handed over, as it is served. Its bytes stand still until the program
// is answered.
struct OfferedUpdate {
  Digest root;
  Slice slice;
  std::shared_ptr<const LeafList> leaves;
};

// How far a run is. `leaves` once it is complete.
struct RunProgress {
  ChunkRun run;
  std::uint64_t done = 0;  // chunks from run.begin on
  std::shared_ptr<const LeafList> leaves;
  bool failed = false;
};

class Board {
 public:
  void SetContract(std::shared_ptr<const Contract> contract);
  [[nodiscard]] std::shared_ptr<const Contract> contract() const;
  // Waits until the contract is another object than `than`; answers the present one.
  [[nodiscard]] std::shared_ptr<const Contract> WaitForOtherContract(
      const std::shared_ptr<const Contract>& than, Duration span,
      const std::stop_token& stop) const;
  // Something that no member shows has changed (a model is on the disk now): wakes WaitUntil().
  void Notify();
  // Answers whether `ready`. It is called under the board's lock and must not call the board.
  bool WaitUntil(const std::function<bool()>& ready, Duration span,
                 const std::stop_token& stop) const;

  // What a probe is told: how this node stands, for whom its merge waits just now.
  void SetProgress(std::optional<Progress> progress, Instant at);
  // Until the next call, or ForgetRuns().
  void SetWaitingFor(std::optional<NodeName> source);
  // With done_bytes and waiting_for; nothing when this node is in no training. `now` brings
  // training_ms up to date.
  [[nodiscard]] std::optional<Progress> ProgressNow(Instant now) const;

  void Offer(std::optional<OfferedUpdate> update);
  [[nodiscard]] std::optional<OfferedUpdate> Offered(const Digest& root) const;

  // The worker tells how its runs go: `own` for the run it merges, others for the runs it pulls. A
  // new merge forgets older ones: their bytes are about to be overwritten in the arena.
  void ForgetRuns();
  void Begin(const RunKey& key, ChunkRun run);
  void Advance(const RunKey& key, std::uint64_t done);
  void Complete(const RunKey& key, std::shared_ptr<const LeafList> leaves);
  void Fail(const RunKey& key);

  [[nodiscard]] std::optional<RunProgress> WaitForBegin(const RunKey& key, Duration span,
                                                        const std::stop_token& stop) const;
  // Waits until the run has more than `more_than` chunks, is complete or failed; nothing when it is
  // unknown after `span`, or on stop.
  [[nodiscard]] std::optional<RunProgress> WaitForRun(const RunKey& key, std::uint64_t more_than,
                                                      Duration span,
                                                      const std::stop_token& stop) const;
  [[nodiscard]] std::optional<RunProgress> WaitForLeaves(const RunKey& key, Duration span,
                                                         const std::stop_token& stop) const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  std::shared_ptr<const Contract> contract_;
  std::optional<OfferedUpdate> offered_;
  std::map<RunKey, RunProgress> runs_;
  std::optional<Progress> progress_;
  Instant progress_at_{};
  std::optional<NodeName> waiting_for_;
};

}  // namespace starling
