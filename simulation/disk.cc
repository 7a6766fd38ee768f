#include "simulation/disk.h"

namespace starling::simulation {

void Disk::Write(std::string name, std::string value, std::function<void(bool)> done) {
  const std::uint64_t write = next_write_++;
  unsynced_.emplace(write, name);
  world_.After(world_.Between(Duration(1us), sync_max_), "disk",
               [this, write, life = life_, name = std::move(name), value = std::move(value),
                done = std::move(done)] {
                 if (life != life_) return;
                 unsynced_.erase(write);
                 const bool full = world_.Now() < full_until_;
                 if (full) {
                   statistics_.Strike("disk: a write fails");
                 } else {
                   files_[name] = value;
                 }
                 done(!full);
               });
}

void Disk::Crash() {
  ++life_;
  for (const auto& [write, name] : unsynced_) {
    if (!files_.contains(name) && world_.Chance(30)) {
      files_[name] = kTorn;
      statistics_.Strike("disk: a write is torn");
    } else {
      statistics_.Strike("disk: a write is dropped");
    }
  }
  unsynced_.clear();
}

void Disk::Lose() {
  Crash();
  files_.clear();
  statistics_.Strike("disk: lost");
}

}  // namespace starling::simulation
