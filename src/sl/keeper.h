// Keeper: the write-behind thread. It writes models and updates from the arenas to the BlobStore,
// in the order in which they were given; who wants to overwrite an arena first waits for what is
// still being written from it. Any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "sl/blob_store.h"

namespace starling {

struct KeepJob {
  bool update = false;  // else a merged model
  RoundId round;
  Digest root;
  Slice slice;
  std::shared_ptr<const LeafList> leaves;
  bool sync = false;
};

class Keeper {
 public:
  // `on_kept` runs on the keeper's thread. Borrows `store`. Destruction writes what is queued
  // first.
  Keeper(BlobStore& store, std::function<void(const KeepJob&, Status)> on_kept);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  std::uint64_t Add(KeepJob job);  // its number, from 1
  // True once job `number` and all before it are written; false on stop.
  bool WaitFor(std::uint64_t number, const std::stop_token& stop);
  bool WaitForAll(const std::stop_token& stop);

 private:
  void Loop(const std::stop_token& stop);

  BlobStore& store_;
  const std::function<void(const KeepJob&, Status)> on_kept_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<KeepJob> queue_;
  std::uint64_t added_ = 0;
  std::uint64_t written_ = 0;
  std::jthread thread_;
};

}  // namespace starling
