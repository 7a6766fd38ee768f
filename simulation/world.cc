#include "simulation/world.h"

#include <algorithm>

namespace starling::simulation {

void World::After(Duration delay, std::string_view label, std::function<void()> run) {
  queue_.emplace(std::pair{now_ + std::max(delay, Duration(0)), next_order_++},
                 Event{std::string(label), std::move(run)});
}

bool World::RunOne() {
  if (queue_.empty()) return false;
  const auto first = queue_.begin();
  now_ = first->first.first;
  const Event event = std::move(first->second);
  queue_.erase(first);
  ++events_;
  const std::int64_t at = now_.time_since_epoch().count();
  Fold({reinterpret_cast<const char*>(&at), sizeof at});  // Every machine that we build for is
                                                          // little-endian.
  Fold(event.label);
  event.run();
  return true;
}

void World::Fold(std::string_view text) {
  for (const char c : text) {
    trace_ = (trace_ ^ static_cast<unsigned char>(c)) * 0x100000001b3U;  // FNV-1a
  }
  trace_ = (trace_ ^ 0xffU) * 0x100000001b3U;
}

}  // namespace starling::simulation
