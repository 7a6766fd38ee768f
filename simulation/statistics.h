// Statistics: what struck and what was hit, of one run and summed over runs. Values; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "protocol/replay.h"

namespace starling::simulation {

struct Statistics {
  std::map<std::string, std::uint64_t, std::less<>> strikes;  // by kind of fault
  std::map<std::string, std::uint64_t, std::less<>> valid;    // by type of event
  std::map<std::string, std::uint64_t, std::less<>> ignored;  // by type and reason
  std::map<std::string, std::uint64_t, std::less<>> effects;  // of the deciders

  void Strike(std::string_view kind);
  void Effect(std::string_view kind);
  void Entry(const Verdict& verdict);
};

// Sums over seeds. A strike counts once a seed.
struct Totals {
  Statistics sums;
  std::map<std::string, std::uint64_t, std::less<>> seeds_struck;
  std::uint64_t seeds = 0, rounds = 0, entries = 0, events = 0, attempts = 0;
  Duration virtual_time{};

  void Add(const Statistics& run);
  // The tables, for people: each row of kStrikes, of the event table and of its reasons; those that
  // were never hit are named at the end.
  [[nodiscard]] std::string Text() const;
};

// A reason with names, numbers and roots taken out: "it speaks of round #, but round # is open".
[[nodiscard]] std::string ReasonKind(std::string_view reason);

}  // namespace starling::simulation
