// Weather: what is drawn before a run begins: who takes part, how they behave, and how often what
// strikes. Most is drawn from a few very different sizes, each fault often never, so that faults
// come alone and together. Values.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "protocol/events.h"
#include "simulation/network.h"

namespace starling::simulation {

// How an SL cheats, all the time.
enum class Lie : std::uint8_t {
  kNone,
  kVotesOther,   // votes for a root that nobody has
  kMergesOther,  // as an owner it serves a run that is not the merge, and votes for it
  kWrongBytes,   // what it serves does not give its root
  kBreaksOff,    // stops half-way through each transfer
  kTrickles,     // one byte a second
};

struct Habits {
  NodeName name;
  Duration opens_at{};
  Duration interval{};        // from an answer to the next sync
  std::uint64_t batches = 1;  // in an interval: how soon a program hears that the swarm went on
  std::uint64_t rounds = 1;   // counted updates before it finishes
  FinishMode mode = FinishMode::kSnapshot;
  std::uint64_t weight = 1;
  bool may_lead = true;
  Lie lie = Lie::kNone;
  std::int64_t drift = 0;  // of its clock, parts per million
};

// What a storm brings, again and again.
enum class Strike : std::uint8_t {
  kSlCrash,      // the SL and its program end; they start again
  kSlMachine,    // its machine is gone for a while
  kSlDisk,       // its disk is lost with it, the ledger key too
  kProgramDies,  // the program ends, the SL says so and leaves; both start again
  kSlStops,      // SIGSTOP for a while
  kSnCrash,
  kSnStops,
  kFollowerDisk,  // a following SN loses its copy
  kSentinelOld,   // the sentinel is restored from an old copy
  kOneWayCut,
  kPartition,
  kClockLeaps,
  kDiskFull,
  kSnDiskFull,
  kSlowTransfers,  // a node's transfers stall, break off or trickle for a while
  kReorganise,
  kHomeAway,   // an SN does not reach the chain
  kReplays,    // entries are appended again, spoilt or not
  kForgeries,  // entries that say what is not so, signed by who may append
  kHastySn,    // an SN closes, reopens and sends away at random
  kCurious,    // somebody asks for an update that is not for it
  kAmended,
  kRevoked,
  kReset,
};
inline constexpr std::size_t kStrikeCount = static_cast<std::size_t>(Strike::kReset) + 1;
[[nodiscard]] std::string_view StrikeName(Strike strike);

struct Weather {
  std::vector<Habits> nodes;
  std::vector<std::int64_t> sn_drifts;  // one an SN
  std::uint64_t min_peers = 1;
  std::uint64_t witnesses = 2;
  bool merges_round_zero = false;
  bool lists_members = false;
  bool lists_operators = false;  // two, in entry 0
  bool lists_admins = false;     // one of them, or an identity: of this training
  bool shares_identity = false;  // all SLs of one site have one SPIFFE ID
  bool auto_create = false;
  bool starts_from_root = false;  // contract-created {initial: <root>}, held by the first node
  Duration finality{};            // 0: the embedded ledger
  NetworkWeather network;
  Duration transfer_max{};  // of a merge or a fetch
  Duration disk_max{};
  Duration grace = 30s;
  Duration stall_timeout = 5s;
  Duration linger = 600s;
  Duration foul{};                             // how long the storm lasts; 0: none
  std::array<Duration, kStrikeCount> every{};  // mean time between two; 0: never

  [[nodiscard]] Duration every_of(Strike strike) const {
    return every[static_cast<std::size_t>(strike)];
  }
  [[nodiscard]] std::uint64_t liars() const;
};
[[nodiscard]] Weather DrawWeather(World& world);

// Nodes, rounds and weights as they come; the storm is left out.
[[nodiscard]] Weather FairWeather(std::size_t nodes, std::uint64_t rounds);

}  // namespace starling::simulation
