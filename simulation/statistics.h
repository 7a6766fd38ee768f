// Statistics: what struck and what was hit, of one run and summed over runs. Values; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "protocol/replay.h"

namespace starling::simulation {

struct Statistics {
  // A row of the event table that makes an entry void: the entry's type, "" for the rows of the
  // header test, which are the same for all types.
  using IgnoredRow = std::pair<std::string, Reason>;

  std::map<std::string, std::uint64_t, std::less<>> strikes;  // by kind of fault
  std::map<std::string, std::uint64_t, std::less<>> valid;    // by type of event
  std::map<IgnoredRow, std::uint64_t> ignored;
  std::map<std::string, std::uint64_t, std::less<>> effects;  // of the deciders

  void Strike(std::string_view kind);
  void Effect(std::string_view kind);
  void Entry(const Verdict& verdict);
  // How often an entry was ignored for the same.
  [[nodiscard]] std::uint64_t Hits(const Verdict& verdict) const;
};

// All rows, as protocol/reasons.h lists them.
[[nodiscard]] const std::vector<Statistics::IgnoredRow>& IgnoredRows();
// The row of an ignored entry; whether the list has it.
[[nodiscard]] Statistics::IgnoredRow RowOf(const Verdict& verdict);
[[nodiscard]] bool IsListed(const Verdict& verdict);

// Sums over seeds. A strike counts once a seed.
struct Totals {
  Statistics sums;
  std::map<std::string, std::uint64_t, std::less<>> seeds_struck;
  std::uint64_t seeds = 0, rounds = 0, entries = 0, events = 0, attempts = 0;
  Duration virtual_time{};

  void Add(const Statistics& run);
  // What has never struck or been hit: kinds of fault, rows of the event table.
  [[nodiscard]] std::vector<std::string> Never() const;
  // The tables, for people: every kind of fault, every row of the event table and every reason why
  // an entry is ignored, those with 0 too, which the end names once more.
  [[nodiscard]] std::string Text() const;
};

}  // namespace starling::simulation
