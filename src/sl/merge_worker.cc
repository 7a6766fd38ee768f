#include "sl/merge_worker.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <thread>

#include "base/check.h"
#include "base/mailbox.h"
#include "base/text.h"
#include "sl/source_fault.h"
#include "sl/window.h"

namespace starling {
namespace {

constexpr std::size_t kWindowChunks = 16;
// After the first source has failed: sources that fail together are named together.
constexpr Duration kGather = 250ms;

class Merge {
 public:
  Merge(const MergeJob& job, const MergeInputs& in, const Puller& puller, Board& board,
        const Clock& clock, const std::stop_token& stop)
      : job_(job),
        in_(in),
        puller_(puller),
        board_(board),
        clock_(clock),
        stop_(stop),
        leaves_(ChunkCount(job.size)) {}

  Result<MergeOutcome> Compute();

 private:
  // One term of the sum: a member whose weight counts.
  struct Term {
    const Member* member = nullptr;
    bool remote = false;
    LeafList leaves;
  };

  [[nodiscard]] RunKey KeyOf(std::uint64_t owner) const {
    return {job_.instance, job_.round, job_.set, owner};
  }
  [[nodiscard]] ChunkRun RunOf(std::uint64_t owner) const {
    return RunOfOwner(ChunkCount(job_.size), job_.owners.size(), owner);
  }
  [[nodiscard]] ByteSpan Part(ByteSpan blob, std::uint64_t chunk) const {
    const ByteRange range = ChunkRange(job_.size, chunk);
    return blob.subspan(range.begin, range.size());
  }
  [[nodiscard]] MutableByteSpan Out(std::uint64_t chunk) const {
    const ByteRange range = ChunkRange(job_.size, chunk);
    return in_.merged.subspan(range.begin, range.size());
  }
  Status OpenBase();
  [[nodiscard]] std::vector<Term> Terms() const;
  // The bytes of a term that are here already: own update, or the base of an active node.
  [[nodiscard]] Result<ByteSpan> Local(const Term& term, std::uint64_t chunk) const;
  Status Lead(std::uint64_t owner);
  // The mean of `run`, chunk by chunk, into out(chunk); done(chunk) hears of each.
  struct Target {
    std::function<MutableByteSpan(std::uint64_t chunk)> out;
    std::function<void(std::uint64_t chunk)> done;
  };
  Status Mean(ChunkRun run, const Target& target);
  Status LeadCopy(std::uint64_t owner, ChunkRun run);
  Status FetchTerm(Term& term, std::size_t index, std::size_t sources, ChunkRun run,
                   ChunkWindow& window, const std::stop_token& stop);
  void Finished(std::uint64_t owner, std::uint64_t chunk, ChunkRun run);
  Status Follow(std::uint64_t owner);
  Status Audit(std::uint64_t owner);
  Result<Bytes> MergeOneChunk(std::uint64_t chunk);

  const MergeJob& job_;
  const MergeInputs& in_;
  const Puller& puller_;
  Board& board_;
  const Clock& clock_;
  const std::stop_token& stop_;
  LeafList leaves_;
  BlobStore::Blob base_file_;
  ByteSpan base_;  // whole base, from the arena or the file; empty in round 0
  bool base_in_arena_ = false;
  std::atomic<std::uint64_t> pulled_bytes_{0};
};

Status Merge::OpenBase() {
  if (!job_.base) return absl::OkStatus();
  if (in_.arena_has_base) {
    base_ = in_.merged;
    base_in_arena_ = true;
    return absl::OkStatus();
  }
  Result<BlobStore::Blob> kept = in_.store.OpenModel(*job_.base);
  if (!kept.ok()) return Annotate(kept.status(), "base of the merge");
  base_file_ = *std::move(kept);
  base_ = base_file_.slice.bytes;
  if (base_.size() != job_.size)
    return absl::DataLossError("the base has another size than the training's models");
  return absl::OkStatus();
}

std::vector<Merge::Term> Merge::Terms() const {
  std::vector<Term> terms;
  for (const Member& member : job_.members) {
    if (job_.kind == MergeKind::kCopyOfLeader && member.name != job_.owners.front()) continue;
    // A weight of 0 adds ±0 to every sum and nothing to the divisor.
    if (!member.update || (job_.kind == MergeKind::kMean && member.weight == 0)) continue;
    const bool remote = member.name != in_.self && member.kind != NodeKind::kActive;
    terms.push_back({&member, remote, {}});
  }
  return terms;
}

Result<ByteSpan> Merge::Local(const Term& term, std::uint64_t chunk) const {
  if (term.member->kind == NodeKind::kActive) return Part(base_, chunk);
  if (in_.own == nullptr || in_.own->root != *term.member->update) {
    return WithSource(
        WithCode(absl::DataLossError("this node's update of the round is not here any more"),
                 "lost-update"),
        in_.self);
  }
  return Part(in_.own->slice.bytes, chunk);
}

void Merge::Finished(std::uint64_t owner, std::uint64_t chunk, ChunkRun run) {
  leaves_[chunk] = LeafOf(Part(in_.merged, chunk));
  board_.Advance(KeyOf(owner), chunk - run.begin + 1);
}

// One source's thread: its leaf list, then its chunks, each into its slot.
Status Merge::FetchTerm(Term& term, std::size_t index, std::size_t sources, ChunkRun run,
                        ChunkWindow& window, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(term.leaves, puller_.UpdateLeaves(job_, *term.member, stop));
  const auto slot = [&](std::uint64_t chunk) { return (chunk - run.begin) * sources + index; };
  return puller_.UpdateChunks(
      job_, *term.member, term.leaves, run,
      [&](std::uint64_t chunk) { return window.Acquire(slot(chunk), stop); },
      [&](std::uint64_t chunk) {
        const std::uint64_t bytes = ChunkRange(job_.size, chunk).size();
        pulled_bytes_ += bytes;
        window.Fill(slot(chunk), bytes);
      },
      stop);
}

Status Merge::Mean(ChunkRun run, const Target& target) {
  std::vector<Term> terms = Terms();
  std::vector<Term*> remote;
  for (Term& term : terms) {
    if (term.remote) remote.push_back(&term);
  }
  ChunkWindow window(kWindowChunks);
  const std::stop_callback close_on_stop(
      stop_, [&window] { window.Close(absl::CancelledError("the merge was given up")); });
  Guarded<std::vector<Status>> failures;
  std::vector<std::jthread> threads;  // Destroyed (stopped and joined) before the window.
  for (std::size_t i = 0; i < remote.size(); ++i) {
    threads.emplace_back([this, &window, &remote, &failures, i, run](const std::stop_token& stop) {
      Status status = FetchTerm(*remote[i], i, remote.size(), run, window, stop);
      if (status.ok() || absl::IsCancelled(status)) return;
      failures.With([&](std::vector<Status>& all) { all.push_back(status); });
      Mailbox<char> nobody;  // Only the stop can end this wait early.
      static_cast<void>(nobody.Pop(stop, kGather));
      window.Close(std::move(status));
    });
  }
  MeanMerger merger(in_.layout);
  Status status;
  for (std::uint64_t chunk = run.begin; chunk < run.end && status.ok(); ++chunk) {
    merger.Begin(chunk);
    for (const Term& term : terms) {
      if (term.remote) board_.SetWaitingFor(term.member->name);
      Result<ByteSpan> bytes = term.remote ? window.Take(stop_) : Local(term, chunk);
      status = bytes.status();
      if (!status.ok()) break;
      if (term.remote) board_.SetWaitingFor(std::nullopt);
      merger.Add(*bytes, term.member->weight);
      if (term.remote) window.Release();
    }
    if (!status.ok()) break;
    merger.Finish(base_.empty() ? base_ : Part(base_, chunk), target.out(chunk));
    target.done(chunk);
  }
  board_.SetWaitingFor(std::nullopt);
  window.Close(status);
  if (status.ok() || absl::IsCancelled(status)) return status;
  status = failures.With(
      [&](const std::vector<Status>& all) { return all.empty() ? status : WithAllSources(all); });
  // Those who follow this merge ask whom it cannot go on with, and must not blame this node.
  if (const std::vector<SourceFailure> named = SourceFailuresOf(status); !named.empty())
    board_.SetWaitingFor(named.front().node);
  return status;
}

// Round 0 from the leader's model, or a round in which no weight counts.
Status Merge::LeadCopy(std::uint64_t owner, ChunkRun run) {
  const std::vector<Term> terms = Terms();
  for (std::uint64_t chunk = run.begin; chunk < run.end; ++chunk) {
    if (stop_.stop_requested()) return absl::CancelledError("the merge was given up");
    ByteSpan source;
    if (job_.kind == MergeKind::kBase) {
      source = Part(base_, chunk);
    } else {
      if (terms.size() != 1 || terms[0].remote)
        return absl::InternalError("only the first owner copies its own update");
      ASSIGN_OR_RETURN(source, Local(terms[0], chunk));
    }
    if (source.data() != Out(chunk).data())
      std::memcpy(Out(chunk).data(), source.data(), source.size());
    Finished(owner, chunk, run);
  }
  return absl::OkStatus();
}

Status Merge::Lead(std::uint64_t owner) {
  const ChunkRun run = RunOf(owner);
  board_.Begin(KeyOf(owner), run);
  const Target target{[this](std::uint64_t chunk) { return Out(chunk); },
                      [&](std::uint64_t chunk) { Finished(owner, chunk, run); }};
  Status status = job_.kind == MergeKind::kMean ? Mean(run, target) : LeadCopy(owner, run);
  if (!status.ok()) {
    board_.Fail(KeyOf(owner));
    return status;
  }
  board_.Complete(KeyOf(owner), std::make_shared<LeafList>(
                                    leaves_.begin() + static_cast<std::ptrdiff_t>(run.begin),
                                    leaves_.begin() + static_cast<std::ptrdiff_t>(run.end)));
  return absl::OkStatus();
}

Status Merge::Follow(std::uint64_t owner) {
  const ChunkRun run = RunOf(owner);
  board_.Begin(KeyOf(owner), run);
  const auto advance = [&](std::uint64_t done) { board_.Advance(KeyOf(owner), done); };
  board_.SetWaitingFor(job_.owners[owner]);
  Result<LeafList> leaves = puller_.Run(job_, owner, run, in_.merged, advance, stop_);
  board_.SetWaitingFor(std::nullopt);
  if (!leaves.ok()) {
    board_.Fail(KeyOf(owner));
    return leaves.status();
  }
  std::copy(leaves->begin(), leaves->end(),
            leaves_.begin() + static_cast<std::ptrdiff_t>(run.begin));
  pulled_bytes_ += ChunkRange(job_.size, run.end - 1).end - ChunkRange(job_.size, run.begin).begin;
  board_.Complete(KeyOf(owner), std::make_shared<LeafList>(*std::move(leaves)));
  return absl::OkStatus();
}

// The same chunk again, from the updates themselves.
Result<Bytes> Merge::MergeOneChunk(std::uint64_t chunk) {
  if (job_.base && base_in_arena_) {
    // The arena holds M by now; the base is on the disk.
    ASSIGN_OR_RETURN(base_file_, in_.store.OpenModel(*job_.base));
    base_ = base_file_.slice.bytes;
    base_in_arena_ = false;
  }
  if (job_.kind == MergeKind::kBase) {
    const ByteSpan base = Part(base_, chunk);
    return Bytes(base.begin(), base.end());
  }
  Bytes out(ChunkRange(job_.size, chunk).size());
  const ChunkRun one{chunk, chunk + 1};
  const auto into_out = [&](std::uint64_t) -> MutableByteSpan { return out; };
  if (job_.kind == MergeKind::kMean) {
    RETURN_IF_ERROR(Mean(one, {into_out, [](std::uint64_t) {}}));
    return out;
  }
  const std::vector<Term> terms = Terms();
  if (terms.size() != 1) return absl::InternalError("the first owner has no update to copy");
  const Member& leader = *terms[0].member;
  ASSIGN_OR_RETURN(const LeafList leaves, puller_.UpdateLeaves(job_, leader, stop_));
  RETURN_IF_ERROR(puller_.UpdateChunks(
      job_, leader, leaves, one, into_out, [](std::uint64_t) {}, stop_));
  pulled_bytes_ += out.size();
  return out;
}

Status Merge::Audit(std::uint64_t owner) {
  const ChunkRun run = RunOf(owner);
  const Digest run_root = RootOfLeaves(std::span(leaves_).subspan(run.begin, run.end - run.begin));
  for (std::uint64_t j = 0; j < job_.audit; ++j) {
    const std::uint64_t chunk = AuditedChunk(run_root, job_.set, in_.self, j, run);
    ASSIGN_OR_RETURN(const Bytes again, MergeOneChunk(chunk));
    if (AsText(again) != AsText(Part(in_.merged, chunk))) {
      return WithSource(WithCode(absl::DataLossError(StrCat(
                                     "audit: chunk ", chunk, " that ", job_.owners[owner].value(),
                                     " merged is not the merge of the updates")),
                                 "wrong-merge"),
                        job_.owners[owner]);
    }
  }
  return absl::OkStatus();
}

Result<MergeOutcome> Merge::Compute() {
  CHECK(job_.size == in_.layout.size() && in_.merged.size() == job_.size && !job_.owners.empty());
  const Instant begin = clock_.Now();
  RETURN_IF_ERROR(OpenBase());
  std::vector<std::uint64_t> followed;
  for (std::uint64_t owner = 0; owner < job_.owners.size(); ++owner) {
    const ChunkRun run = RunOf(owner);
    if (run.begin == run.end) continue;
    if (job_.owners[owner] == in_.self)
      RETURN_IF_ERROR(Lead(owner));  // Others wait for it.
    else
      followed.push_back(owner);
  }
  for (const std::uint64_t owner : followed) RETURN_IF_ERROR(Follow(owner));
  const Instant merged = clock_.Now();
  MergeOutcome outcome;
  for (const std::uint64_t owner : followed) {
    if (outcome.audit.ok()) outcome.audit = Audit(owner);
  }
  if (absl::IsCancelled(outcome.audit)) return outcome.audit;  // Nobody's fault.
  outcome.root = RootOfLeaves(leaves_);
  outcome.leaves = std::make_shared<LeafList>(leaves_);
  outcome.report.pull_ms = static_cast<std::uint64_t>(Millis(merged - begin));
  outcome.report.merge_ms = static_cast<std::uint64_t>(Millis(clock_.Now() - begin));
  outcome.report.bytes = pulled_bytes_;
  return outcome;
}

}  // namespace

Result<MergeOutcome> ComputeMerge(const MergeJob& job, const MergeInputs& inputs,
                                  const Puller& puller, Board& board, const Clock& clock,
                                  const std::stop_token& stop) {
  return Merge(job, inputs, puller, board, clock, stop).Compute();
}

}  // namespace starling
