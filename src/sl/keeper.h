// Keeper: the write-behind thread. It writes models and updates from the arenas to the BlobStore,
// in the order in which they were given; what the disk refuses is tried again after the
// others, until it is written. Who wants to overwrite an arena first waits for what is still being
// written from it, or takes it back. Any thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "base/clock.h"
#include "sl/blob_store.h"

namespace starling {

struct KeepJob {
  bool update = false;  // else a merged model
  RoundId round;
  Digest root;
  Slice slice;
  std::shared_ptr<const LeafList> leaves;
  // Written is enough for whatever a process can do to us. What must also outlast a power cut,
  // since nobody else may hold it, is forced to the disk: that takes longer than the rest of a
  // small round.
  bool sync = false;
};

struct KeeperOptions {
  Duration retry = 1s;  // after a refusal of the disk
};

class Keeper {
 public:
  // `on_kept` runs on the keeper's thread, once a try. Borrows `store`. Destruction first tries
  // once more to write what is queued.
  Keeper(const KeeperOptions& options, BlobStore& store,
         std::function<void(const KeepJob&, Status)> on_kept);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  std::uint64_t Add(KeepJob job);  // its number, from 1
  // True once no model is left to write; false on stop.
  bool WaitForModels(const std::stop_token& stop);
  // The bytes of job `number` are about to be overwritten. Waits until it is written; one that the
  // disk has refused is given up. Nothing reads those bytes on return.
  void Release(std::uint64_t number);

 private:
  struct Queued {
    std::uint64_t number = 0;
    KeepJob job;
    bool refused = false;  // since all others had their turn
  };
  using Queue = std::deque<Queued>;
  void Loop(const std::stop_token& stop);
  // Under mutex_.
  [[nodiscard]] Queue::iterator Find(std::uint64_t number);
  [[nodiscard]] Queue::iterator NextToTry();

  const KeeperOptions options_;
  BlobStore& store_;
  const std::function<void(const KeepJob&, Status)> on_kept_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  Queue queue_;
  std::uint64_t added_ = 0;
  std::uint64_t writing_ = 0;  // the number of the job whose bytes are read just now
  std::jthread thread_;
};

}  // namespace starling
