// Storm: brings what the weather has drawn, again and again until it is over, then heals
// everything. One thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "simulation/scene.h"

namespace starling::simulation {

class Storm {
 public:
  explicit Storm(Scene& scene) : scene_(scene) {}
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

  void Begin();
  // Everybody runs, links are whole, disks have room, clocks keep pace.
  void Heal();
  // Whoever runs a node that cheats sets it right when the others cannot do without it.
  void BoundLiars();
  // Strikes once, now; for stories.
  void Bring(Strike strike);
  // What an operator does who looks at a swarm that cannot go on.
  void Amend(std::uint64_t min_peers);
  void Reset();

 private:
  void Later(Strike strike);
  void BringToSl(Strike strike, Sl& sl);
  void BringToSn(Strike strike, Sn& sn);
  void BringToNetwork(Strike strike);
  void BringToHome(Strike strike);
  void Operate(Strike strike);
  void SayAsOperator(Sn& sn, Event event, std::string_view what);
  void HastySn();
  void Curious();
  [[nodiscard]] Duration Span();  // how long something is gone
  [[nodiscard]] Sl& AnySl();
  [[nodiscard]] Sn& AnySn();

  Scene& scene_;
  std::uint64_t operator_seq_ = 1;
};

// Noise (noise.cc): entries that nobody should heed, straight into the log.
void AppendAgain(Scene& scene);
void Forge(Scene& scene);

}  // namespace starling::simulation
