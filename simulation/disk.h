// Disk: the state directory of one simulated node. A file is written beside the old one, synced and
// renamed; until then a crash drops it, or leaves a torn one where none was before (a disk that
// lies about syncing). Who reads a file checks it. One thread; borrows world and statistics.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "simulation/statistics.h"
#include "simulation/world.h"

namespace starling::simulation {

inline constexpr std::string_view kTorn = "torn";

class Disk {
 public:
  Disk(World& world, Statistics& statistics, Duration sync_max)
      : world_(world), statistics_(statistics), sync_max_(sync_max) {}
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  // `done(true)` once it is durable, `done(false)` when the write failed (a full disk). Neither
  // comes after a crash.
  void Write(std::string name, std::string value, std::function<void(bool)> done);
  // Waits for the disk: durable on return.
  void WriteNow(std::string name, std::string value) { files_[std::move(name)] = std::move(value); }
  void Erase(const std::string& name) { files_.erase(name); }
  // What a start finds. A torn file has the value kTorn.
  [[nodiscard]] const std::map<std::string, std::string>& files() const { return files_; }
  [[nodiscard]] bool Has(const std::string& name) const { return files_.contains(name); }

  void Crash();  // drops, or tears, what is not synced
  void Lose();   // the whole disk is another, empty one
  void FillUntil(Instant at) { full_until_ = at; }

 private:
  World& world_;
  Statistics& statistics_;
  const Duration sync_max_;
  std::map<std::string, std::string> files_;
  std::uint64_t life_ = 0;  // writes of an earlier one never end
  std::uint64_t next_write_ = 0;
  std::map<std::uint64_t, std::string> unsynced_;  // names
  Instant full_until_{};
};

}  // namespace starling::simulation
