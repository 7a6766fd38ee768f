// Home: what orders the entries of a simulated ledger. The embedded one is final at once; the other
// stands for a chain whose newest entries are not final yet: it may drop some of them and put
// others in their place. One thread; borrows what it is given.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "simulation/chronicle.h"
#include "simulation/statistics.h"
#include "simulation/world.h"

namespace starling::simulation {

class Home {
 public:
  // `finality`: how long an entry may still be taken back; 0: never.
  Home(World& world, Chronicle& chronicle, Statistics& statistics, Duration finality)
      : world_(world),
        chronicle_(chronicle),
        statistics_(statistics),
        finality_(finality),
        end_(chronicle.blank()),
        final_(chronicle.blank()) {}
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;

  [[nodiscard]] const Log& end() const { return end_; }
  [[nodiscard]] const Log& final() const { return final_; }
  [[nodiscard]] bool is_final_at_once() const { return finality_ == Duration(0); }
  // All or nothing, in order.
  void Append(std::span<const std::string> entries);
  // All of it is final: before anybody begins.
  void Settle() { final_ = end_; }
  // The embedded log is an old copy of itself.
  void Restore(std::int64_t end) { end_ = final_ = At(end_, end); }
  // Takes some of what is not final back, and puts the rest on in another order.
  void Reorganise();
  // After each change, and with each page that is new or final.
  void Watch(std::function<void()> changed, std::function<void(const Log&)> on_page) {
    changed_ = std::move(changed);
    on_page_ = std::move(on_page);
  }

 private:
  void MakeFinal(const Log& page);

  World& world_;
  Chronicle& chronicle_;
  Statistics& statistics_;
  const Duration finality_;
  Log end_;
  Log final_;
  std::function<void()> changed_;
  std::function<void(const Log&)> on_page_;
};

}  // namespace starling::simulation
