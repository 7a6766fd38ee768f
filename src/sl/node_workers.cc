// What the workers and the other nodes answer: merges, fetches, the disk, probes.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "sl/node_loop.h"
#include "sl/source_fault.h"

namespace starling {
namespace {

constexpr Duration kMergePauseFirst = 200ms;  // before a failed merge is tried again
constexpr Duration kMergePauseMax = 2s;

}  // namespace

void NodeLoop::Handle(MergeDone done) {
  if (!done.outcome.ok() && absl::IsCancelled(done.outcome.status())) return;  // A newer one runs.
  merging_ = false;
  const Status why = done.outcome.ok() ? done.outcome->audit : done.outcome.status();
  if (why.ok()) return Merged(done.job, *done.outcome);
  MergeFailed(done, why);
}

void NodeLoop::Merged(const MergeJob& job, const MergeOutcome& outcome) {
  merge_pause_ = Duration::zero();
  arena_root_ = outcome.root;
  arena_leaves_ = outcome.leaves;
  parts_.deps.log.Debug("round {}: model {} is here after {} ms", job.round.value(),
                        ShortText(outcome.root), outcome.report.merge_ms);
  if (fetch_wanted_ == outcome.root) fetch_wanted_.reset();
  Perform(decider_->OnMerged(job, outcome.root, outcome.report, state(), parts_.deps.clock.Now()));
  StartFetchIfDue();
}

// Who is at fault is told at once: a statement about a round that is over by now is void.
void NodeLoop::MergeFailed(const MergeDone& done, const Status& why) {
  const std::vector<SourceFailure> failures = SourceFailuresOf(why);
  if (failures.empty())  // It is this node.
    return Fail(Annotate(why, StrCat("round ", done.job.round.value())));
  const Instant now = parts_.deps.clock.Now();
  merge_pause_ = std::clamp(merge_pause_ * 2, kMergePauseFirst, kMergePauseMax);
  trouble_ = MergeTrouble{done.job, why, std::nullopt, now + merge_pause_};
  if (done.outcome.ok() && failures.front().why != StallWhy::kRoot)
    trouble_->outcome = *done.outcome;
  if (IsOpen(done.job)) {
    parts_.deps.log.Info("round {}, attempt {}: {}", done.job.round.value(),
                         done.job.attempt.value(), std::string(why.message()));
    Perform(decider_->OnStalled(done.job, failures, state(), now));
  }
  ResolveTrouble(now);
}

bool NodeLoop::IsOpen(const MergeJob& job) const {
  const Contract* const at = contract();
  return at != nullptr && at->instance == job.instance && at->round == job.round &&
         at->attempt == job.attempt && at->phase == Phase::kMerging;
}

// Others stop to serve a round the moment it is sealed, and this node reads of the seal a moment
// later.
void NodeLoop::ResolveTrouble(Instant now) {
  if (!trouble_) return;
  if (IsOpen(trouble_->job)) {
    if (now < trouble_->again) return;
    MergeJob job = std::exchange(trouble_, std::nullopt)->job;
    return StartMerge(std::move(job));
  }
  const MergeTrouble trouble = *std::exchange(trouble_, std::nullopt);
  const Contract* const at = contract();
  if (at != nullptr && trouble.outcome) {
    const Digest* const sealed = at->roots.Find(trouble.job.round);
    if (sealed != nullptr && *sealed == trouble.outcome->root)
      return Merged(trouble.job, *trouble.outcome);
  }
  parts_.deps.log.Info("round {} went on before this node had it: {}", trouble.job.round.value(),
                       std::string(trouble.why.message()));
  StartFetchIfDue();
}

void NodeLoop::Handle(FetchDone done) {
  if (!done.leaves.ok()) {
    if (absl::IsCancelled(done.leaves.status())) return;
    return Fail(Annotate(done.leaves.status(), StrCat("fetching model ", ShortText(done.root))));
  }
  arena_root_ = done.root;
  arena_leaves_ = std::make_shared<const LeafList>(*std::move(done.leaves));
  Perform(decider_->OnFetched(done.root, state(), parts_.deps.clock.Now()));
}

// Once a trouble, and once when it is over.
void NodeLoop::ReportDisk(const Status& status) {
  const std::string trouble(status.message());
  if (trouble == disk_trouble_) return;
  if (status.ok())
    parts_.deps.log.Info("the disk works again");
  else
    parts_.deps.log.Error("{}; next: tried again every second; make room", trouble);
  disk_trouble_ = trouble;
}

void NodeLoop::Handle(const KeepDone& done) {
  ReportDisk(Annotate(done.status, done.job.update ? "keeping an update" : "keeping a model"));
  if (!done.status.ok()) return;  // The keeper tries again.
  const Instant now = parts_.deps.clock.Now();
  Perform(done.job.update ? decider_->OnUpdateStored(done.job.root, state(), now)
                          : decider_->OnKept(done.job.root, state(), now));
}

void NodeLoop::Handle(const ProbeDone& done) {
  Perform(decider_->OnProbe(done.id, done.answer, state(), parts_.deps.clock.Now()));
}

}  // namespace starling
