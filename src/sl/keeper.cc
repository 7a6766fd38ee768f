#include "sl/keeper.h"

#include <utility>

namespace starling {

Keeper::Keeper(BlobStore& store, std::function<void(const KeepJob&, Status)> on_kept)
    : store_(store),
      on_kept_(std::move(on_kept)),
      thread_([this](const std::stop_token& stop) { Loop(stop); }) {}

Keeper::~Keeper() {
  thread_.request_stop();
  thread_.join();
}

std::uint64_t Keeper::Add(KeepJob job) {
  const std::scoped_lock lock(mutex_);
  queue_.push_back(std::move(job));
  changed_.notify_all();
  return ++added_;
}

bool Keeper::WaitFor(std::uint64_t number, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  return changed_.wait(lock, stop, [&] { return written_ >= number; });
}

bool Keeper::WaitForAll(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  return changed_.wait(lock, stop, [&] { return written_ == added_; });
}

void Keeper::Loop(const std::stop_token& stop) {
  for (;;) {
    KeepJob job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, stop, [this] { return !queue_.empty(); });
      if (queue_.empty()) return;  // Stopped, and nothing is left to write.
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    Status status =
        job.update ? store_.KeepUpdate(job.round, job.root, job.slice.bytes, *job.leaves)
                   : store_.KeepModel(job.round, job.root, job.slice.bytes, *job.leaves, job.sync);
    {
      const std::scoped_lock lock(mutex_);
      ++written_;
      changed_.notify_all();
    }
    on_kept_(job, std::move(status));
  }
}

}  // namespace starling
