#include "sl/board.h"

namespace starling {

void Board::SetContract(std::shared_ptr<const Contract> contract) {
  const std::scoped_lock lock(mutex_);
  contract_ = std::move(contract);
  changed_.notify_all();
}

std::shared_ptr<const Contract> Board::contract() const {
  const std::scoped_lock lock(mutex_);
  return contract_;
}

std::shared_ptr<const Contract> Board::WaitForOtherContract(
    const std::shared_ptr<const Contract>& than, Duration span, const std::stop_token& stop) const {
  std::unique_lock lock(mutex_);
  static_cast<void>(changed_.wait_for(lock, stop, span, [&] { return contract_ != than; }));
  return contract_;
}

void Board::Notify() {
  const std::scoped_lock lock(mutex_);
  changed_.notify_all();
}

bool Board::WaitUntil(const std::function<bool()>& ready, Duration span,
                      const std::stop_token& stop) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, stop, span, ready);
}

void Board::SetProgress(std::optional<Progress> progress, Instant at) {
  const std::scoped_lock lock(mutex_);
  progress_ = std::move(progress);
  progress_at_ = at;
}

void Board::SetWaitingFor(std::optional<NodeName> source) {
  const std::scoped_lock lock(mutex_);
  waiting_for_ = std::move(source);
}

std::optional<Progress> Board::ProgressNow(Instant now) const {
  const std::scoped_lock lock(mutex_);
  std::optional<Progress> progress = progress_;
  if (!progress) return progress;
  if (progress->training_on)
    progress->training_ms += static_cast<std::uint64_t>(Millis(now - progress_at_));
  for (const auto& [key, run] : runs_) progress->done_bytes += run.done * kChunkBytes;
  if (waiting_for_) progress->waiting_for.push_back(*waiting_for_);
  return progress;
}

void Board::Offer(std::optional<OfferedUpdate> update) {
  const std::scoped_lock lock(mutex_);
  offered_ = std::move(update);
}

std::optional<OfferedUpdate> Board::Offered(const Digest& root) const {
  const std::scoped_lock lock(mutex_);
  return offered_ && offered_->root == root ? offered_ : std::nullopt;
}

void Board::ForgetRuns() {
  const std::scoped_lock lock(mutex_);
  runs_.clear();
  waiting_for_.reset();
  changed_.notify_all();
}

void Board::Begin(const RunKey& key, ChunkRun run) {
  const std::scoped_lock lock(mutex_);
  runs_[key] = RunProgress{run, 0, nullptr, false};
  changed_.notify_all();
}

void Board::Advance(const RunKey& key, std::uint64_t done) {
  const std::scoped_lock lock(mutex_);
  if (const auto it = runs_.find(key); it != runs_.end()) it->second.done = done;
  changed_.notify_all();
}

void Board::Complete(const RunKey& key, std::shared_ptr<const LeafList> leaves) {
  const std::scoped_lock lock(mutex_);
  if (const auto it = runs_.find(key); it != runs_.end()) {
    it->second.done = it->second.run.end - it->second.run.begin;
    it->second.leaves = std::move(leaves);
  }
  changed_.notify_all();
}

void Board::Fail(const RunKey& key) {
  const std::scoped_lock lock(mutex_);
  if (const auto it = runs_.find(key); it != runs_.end()) it->second.failed = true;
  changed_.notify_all();
}

std::optional<RunProgress> Board::WaitForBegin(const RunKey& key, Duration span,
                                               const std::stop_token& stop) const {
  std::unique_lock lock(mutex_);
  static_cast<void>(changed_.wait_for(lock, stop, span, [&] { return runs_.contains(key); }));
  const auto it = runs_.find(key);
  return it == runs_.end() ? std::nullopt : std::optional<RunProgress>(it->second);
}

std::optional<RunProgress> Board::WaitForRun(const RunKey& key, std::uint64_t more_than,
                                             Duration span, const std::stop_token& stop) const {
  std::unique_lock lock(mutex_);
  bool known = runs_.contains(key);
  const auto ready = [&] {
    const auto it = runs_.find(key);
    if (it == runs_.end()) return known;  // It was there and is gone: no use in waiting.
    known = true;
    return it->second.done > more_than || it->second.leaves != nullptr || it->second.failed;
  };
  static_cast<void>(changed_.wait_for(lock, stop, span, ready));
  const auto it = runs_.find(key);
  return it == runs_.end() ? std::nullopt : std::optional<RunProgress>(it->second);
}

std::optional<RunProgress> Board::WaitForLeaves(const RunKey& key, Duration span,
                                                const std::stop_token& stop) const {
  std::unique_lock lock(mutex_);
  const auto ready = [&] {
    const auto it = runs_.find(key);
    return it != runs_.end() && (it->second.leaves != nullptr || it->second.failed);
  };
  if (!changed_.wait_for(lock, stop, span, ready)) return std::nullopt;
  return runs_.at(key);
}

}  // namespace starling
