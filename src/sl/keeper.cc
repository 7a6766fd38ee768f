#include "sl/keeper.h"

#include <algorithm>
#include <utility>

namespace starling {

Keeper::Keeper(const KeeperOptions& options, BlobStore& store,
               std::function<void(const KeepJob&, Status)> on_kept)
    : options_(options),
      store_(store),
      on_kept_(std::move(on_kept)),
      thread_([this](const std::stop_token& stop) { Loop(stop); }) {}

Keeper::~Keeper() {
  thread_.request_stop();
  thread_.join();
}

std::uint64_t Keeper::Add(KeepJob job) {
  const std::scoped_lock lock(mutex_);
  queue_.push_back({++added_, std::move(job)});
  changed_.notify_all();
  return added_;
}

bool Keeper::WaitForModels(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  return changed_.wait(lock, stop, [this] {
    return std::all_of(queue_.begin(), queue_.end(),
                       [](const Queued& each) { return each.job.update; });
  });
}

Keeper::Queue::iterator Keeper::Find(std::uint64_t number) {
  return std::find_if(queue_.begin(), queue_.end(),
                      [&](const Queued& each) { return each.number == number; });
}

Keeper::Queue::iterator Keeper::NextToTry() {
  return std::find_if(queue_.begin(), queue_.end(),
                      [](const Queued& each) { return !each.refused; });
}

void Keeper::Release(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    const auto job = Find(number);
    return job == queue_.end() || (job->refused && writing_ != number);
  });
  if (const auto job = Find(number); job != queue_.end()) queue_.erase(job);
  changed_.notify_all();
}

void Keeper::Loop(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (queue_.empty()) changed_.wait(lock, stop, [this] { return !queue_.empty(); });
    if (queue_.empty()) return;  // Stopped, and nothing is left to write.
    auto next = NextToTry();
    if (next == queue_.end()) {
      changed_.wait_for(lock, stop, options_.retry,
                        [this] { return queue_.empty() || NextToTry() != queue_.end(); });
      if (NextToTry() == queue_.end()) {
        for (Queued& each : queue_) each.refused = false;
      }
      next = NextToTry();
      if (next == queue_.end()) continue;
    }
    const Queued now = *next;
    writing_ = now.number;
    lock.unlock();
    const KeepJob& job = now.job;
    Status status =
        job.update ? store_.KeepUpdate(job.round, job.root, job.slice.bytes, *job.leaves, job.sync)
                   : store_.KeepModel(job.round, job.root, job.slice.bytes, *job.leaves, job.sync);
    lock.lock();
    writing_ = 0;
    next = Find(now.number);
    if (status.ok() || stop.stop_requested())
      queue_.erase(next);
    else
      next->refused = true;
    changed_.notify_all();
    lock.unlock();
    on_kept_(job, std::move(status));
    lock.lock();
  }
}

}  // namespace starling
