// What all sources that change while the process runs have in common: the newest state, what is
// wrong with getting the next one, and the lines about both in the log. Any thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "identity/svid.h"

namespace starling {

class LiveSource : public SvidSource {
 public:
  // `source` is what people read (SourceReport). The clock must outlive this.
  LiveSource(std::string source, const Clock& clock, Log log);
  LiveSource(const LiveSource&) = delete;
  LiveSource& operator=(const LiveSource&) = delete;

  [[nodiscard]] std::shared_ptr<const IdentityState> Current() const override;
  [[nodiscard]] SourceReport Report() const override;
  // DeadlineExceeded tells the trouble of then and its next step; a fatal one (Fail) comes at once.
  [[nodiscard]] Status AwaitIdentity(Duration span, const std::stop_token& stop) const override;

 protected:
  // The whole new state; what it lacks is withdrawn. `trouble` is what is wrong with it, and takes
  // the place of the last one: OK ends that. Logs a certificate or a bundle that is another one
  // than before, and an identity that is gone.
  void Publish(std::shared_ptr<const IdentityState> state,
               const Status& trouble = absl::OkStatus());
  // There is no identity any more: what is held is published without its SVID. The bundles stay, as
  // nothing is said of them. A `why` is the trouble of it.
  void Withdraw(const Status& why = absl::OkStatus());
  // What keeps the next state from coming; the state that is held stays as it is. Logged when the
  // words are others than those of the last trouble: as a warning, but not before the first state
  // while who gives it may still be starting.
  void SetTrouble(const Status& trouble);
  // The same, and no identity will ever come from here: AwaitIdentity() ends with it. Not logged
  // before the first state, as AwaitIdentity() answers it.
  void Fail(const Status& trouble);
  [[nodiscard]] const Log& log() const { return log_; }
  [[nodiscard]] const Clock& clock() const { return clock_; }

 private:
  void TakeTrouble(const Status& trouble, bool fatal);
  void LogChanges(const IdentityState& before, const IdentityState& now);

  const Clock& clock_;
  const Instant began_ = clock_.Now();
  const Log log_;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  std::shared_ptr<const IdentityState> state_;
  SourceReport report_;
  bool failed_ = false;
  bool said_softly_ = false;  // the trouble, as information
};

// Whether two bundles hold the same certificates, in whatever order.
[[nodiscard]] bool SameRoots(const Bundle& a, const Bundle& b);

}  // namespace starling
