#include "simulation/statistics.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
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

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t blank = std::min(text.find(' '), text.size());
    words.emplace_back(text.substr(0, blank));
    text.remove_prefix(std::min(blank + 1, text.size()));
  }
  return words;
}

// What a reason says that is a parser's own words.
std::string TextOf(const Statistics::IgnoredRow& row) {
  const std::string_view text = starling::RowOf(row.second).text;
  const std::string_view type = row.first.empty() ? "any entry" : std::string_view(row.first);
  if (text != "#") return StrCat(type, ": ", text);
  switch (row.second) {
    case Reason::kUnreadable:
      return StrCat(type, ": (it cannot be read)");
    case Reason::kBadSignature:
      return StrCat(type, ": (its signature is not good)");
    default:
      return StrCat(type, ": (its claim cannot be read)");
  }
}

Counts Ignored(const Statistics& sums) {
  Counts counts;
  for (const Statistics::IgnoredRow& row : IgnoredRows()) counts.emplace(TextOf(row), 0);
  for (const auto& [row, count] : sums.ignored) Count(counts, TextOf(row), count);
  return counts;
}

Counts Valid(const Statistics& sums) {
  Counts counts = sums.valid;
  for (const std::string_view type : EventTypes()) counts.emplace(type, 0);
  return counts;
}

Counts Strikes(const Statistics& sums) {
  Counts counts = sums.strikes;
  for (std::size_t i = 0; i < kStrikeCount; ++i)
    counts.emplace(StrikeName(static_cast<Strike>(i)), 0);
  return counts;
}

}  // namespace

const std::vector<Statistics::IgnoredRow>& IgnoredRows() {
  static const std::vector<Statistics::IgnoredRow> kAll = [] {
    std::vector<Statistics::IgnoredRow> all;
    for (const ReasonRow& row : ReasonRows()) {
      if (row.types.empty()) all.emplace_back("", row.reason);
      for (std::string& type : Words(row.types)) all.emplace_back(std::move(type), row.reason);
    }
    return all;
  }();
  return kAll;
}

Statistics::IgnoredRow RowOf(const Verdict& verdict) {
  CHECK(verdict.row.has_value());
  const bool of_header = starling::RowOf(*verdict.row).types.empty();
  return {of_header ? std::string() : verdict.type, *verdict.row};
}

bool IsListed(const Verdict& verdict) {
  const auto& all = IgnoredRows();
  return std::find(all.begin(), all.end(), RowOf(verdict)) != all.end();
}

void Statistics::Strike(std::string_view kind) { Count(strikes, kind); }
void Statistics::Effect(std::string_view kind) { Count(effects, kind); }

void Statistics::Entry(const Verdict& verdict) {
  if (verdict.valid()) {
    Count(valid, verdict.type);
  } else {
    ++ignored[RowOf(verdict)];
  }
}

std::uint64_t Statistics::Hits(const Verdict& verdict) const {
  const auto found = ignored.find(RowOf(verdict));
  return found == ignored.end() ? 0 : found->second;
}

void Totals::Add(const Statistics& run) {
  Sum(sums.strikes, run.strikes);
  Sum(sums.valid, run.valid);
  for (const auto& [row, count] : run.ignored) sums.ignored[row] += count;
  Sum(sums.effects, run.effects);
  for (const auto& [kind, count] : run.strikes) Count(seeds_struck, kind);
  ++seeds;
}

std::vector<std::string> Totals::Never() const {
  std::vector<std::string> never;
  for (const Counts& counts : {Strikes(sums), Valid(sums), Ignored(sums)}) {
    for (const auto& [what, count] : counts) {
      if (count == 0) never.push_back(what);
    }
  }
  return never;
}

std::string Totals::Text() const {
  std::string text = fmt::format(
      "{} seeds, {:.1f} virtual hours, {} rounds, {} reopenings, {} entries, {} events\n", seeds,
      static_cast<double>(Millis(virtual_time)) / 3.6e6, rounds, attempts, entries, events);
  text += "faults: share of seeds, times\n";
  for (const auto& [kind, times] : Strikes(sums)) {
    const auto found = seeds_struck.find(kind);
    const std::uint64_t struck = found == seeds_struck.end() ? 0 : found->second;
    text += fmt::format("  {:5.1f} %  {:>9}  {}\n",
                        100.0 * static_cast<double>(struck) /
                            static_cast<double>(std::max<std::uint64_t>(1, seeds)),
                        times, kind);
  }
  text += Table("valid entries", Valid(sums));
  text += Table("ignored entries", Ignored(sums));
  text += Table("effects", sums.effects);
  const std::vector<std::string> never = Never();
  text += fmt::format("never: {}\n", never.size());
  for (const std::string& what : never) text += fmt::format("  {}\n", what);
  return text;
}

}  // namespace starling::simulation
