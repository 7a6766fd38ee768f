#include "simulation/chronicle.h"

#include <algorithm>

#include "base/check.h"
#include "crypto/running_head.h"

namespace starling::simulation {

Log At(const Log& log, std::int64_t position) {
  Log page = log;
  while (page->position() > position) page = page->before;
  return page;
}

bool IsPrefix(const Log& old, const Log& log) {
  if (old->position() > log->position()) return false;
  const Result<Digest> head = log->replay.HeadAt(old->place().position);
  return head.ok() && *head == old->place().head;
}

std::vector<Log> PagesAfter(const Log& log, std::int64_t after) {
  std::vector<Log> pages;
  for (Log page = log; page->position() > after; page = page->before) pages.push_back(page);
  std::reverse(pages.begin(), pages.end());
  return pages;
}

Chronicle::Chronicle(Fault fault) : fault_(fault) {
  auto page = std::make_shared<Page>();
  if (Mutant::Plays(fault)) page->mutant.emplace(fault);
  blank_ = page;
}

Log Chronicle::Append(const Log& log, const std::string& entry) {
  const Digest head = NextHead(log->place().head, entry);
  const auto known = pages_.find(head);
  if (known != pages_.end()) return known->second;
  auto page = std::make_shared<Page>();
  page->before = log;
  page->entry = entry;
  page->replay = log->replay;
  page->verdict = page->replay.Apply(entry);
  if (log->mutant) {
    page->mutant = log->mutant;
    std::vector<Digest> heads;
    for (std::int64_t i = 0; i <= log->position(); ++i) {
      const Result<Digest> at = log->replay.HeadAt(Position{i});
      CHECK(at.ok());
      heads.push_back(*at);
    }
    page->verdict = page->mutant->Apply(entry, heads);
  }
  CHECK(page->place().head == head);
  pages_.emplace(head, page);
  return page;
}

}  // namespace starling::simulation
