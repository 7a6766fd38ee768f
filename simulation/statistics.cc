#include "simulation/statistics.h"

#include <algorithm>
#include <cctype>

#include "fmt/format.h"
#include "simulation/weather.h"

namespace starling::simulation {
namespace {

using Counts = std::map<std::string, std::uint64_t, std::less<>>;

void Count(Counts& counts, std::string_view what, std::uint64_t by = 1) {
  const auto found = counts.find(what);
  if (found != counts.end()) {
    found->second += by;
  } else {
    counts.emplace(what, by);
  }
}

void Sum(Counts& sums, const Counts& counts) {
  for (const auto& [what, count] : counts) Count(sums, what, count);
}

std::string Table(std::string_view head, const Counts& counts) {
  std::string text = fmt::format("{}\n", head);
  for (const auto& [what, count] : counts) text += fmt::format("  {:>9}  {}\n", count, what);
  return text;
}

// What varies from entry to entry in a reason: numbers, roots, names of nodes and trainings.
bool Varies(std::string_view word) {
  const bool digits =
      std::any_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits || word == "nobody" || word == "training" || word == "another" || word == "No" ||
         word.starts_with("spiffe:");
}

}  // namespace

std::string ReasonKind(std::string_view reason) {
  std::string kind;
  while (!reason.empty()) {
    const std::size_t blank = std::min(reason.find(' '), reason.size());
    std::string_view word = reason.substr(0, blank);
    reason.remove_prefix(std::min(blank + 1, reason.size()));
    std::string_view mark;
    while (!word.empty() && std::ispunct(static_cast<unsigned char>(word.back())) != 0) {
      mark = word.substr(word.size() - 1);
      word.remove_suffix(1);
    }
    if (!kind.empty()) kind += ' ';
    kind += Varies(word) ? "#" : word;
    kind += mark;
  }
  return kind;
}

void Statistics::Strike(std::string_view kind) { Count(strikes, kind); }
void Statistics::Effect(std::string_view kind) { Count(effects, kind); }

void Statistics::Entry(const Verdict& verdict) {
  const std::string type = verdict.type.empty() ? "(unreadable)" : verdict.type;
  if (verdict.valid()) {
    Count(valid, type);
  } else {
    Count(ignored, fmt::format("{}: {}", type, ReasonKind(verdict.reason)));
  }
}

void Totals::Add(const Statistics& run) {
  Sum(sums.strikes, run.strikes);
  Sum(sums.valid, run.valid);
  Sum(sums.ignored, run.ignored);
  Sum(sums.effects, run.effects);
  for (const auto& [kind, count] : run.strikes) Count(seeds_struck, kind);
  ++seeds;
}

std::string Totals::Text() const {
  std::string text = fmt::format(
      "{} seeds, {:.1f} virtual hours, {} rounds, {} reopenings, {} entries, {} events\n", seeds,
      static_cast<double>(Millis(virtual_time)) / 3.6e6, rounds, attempts, entries, events);
  text += "faults: share of seeds, times\n";
  Counts all = sums.strikes;
  for (std::size_t i = 0; i < kStrikeCount; ++i) all.emplace(StrikeName(static_cast<Strike>(i)), 0);
  for (const auto& [kind, times] : all) {
    const auto found = seeds_struck.find(kind);
    const std::uint64_t struck = found == seeds_struck.end() ? 0 : found->second;
    text += fmt::format("  {:5.1f} %  {:>9}  {}\n",
                        100.0 * static_cast<double>(struck) /
                            static_cast<double>(std::max<std::uint64_t>(1, seeds)),
                        times, kind);
  }
  text += Table("valid entries", sums.valid);
  text += Table("ignored entries", sums.ignored);
  text += Table("effects", sums.effects);
  return text;
}

}  // namespace starling::simulation
