#include "simulation/home.h"

#include <algorithm>
#include <iterator>

namespace starling::simulation {

void Home::Append(std::span<const std::string> entries) {
  for (const std::string& entry : entries) {
    end_ = chronicle_.Append(end_, entry);
    on_page_(end_);
    if (is_final_at_once()) MakeFinal(end_);
  }
  if (!is_final_at_once()) {
    world_.After(finality_, "final", [this, page = end_] {
      if (!IsPrefix(page, end_)) return;  // Taken back meanwhile.
      MakeFinal(page);
      changed_();
    });
  }
  changed_();
}

void Home::MakeFinal(const Log& page) {
  if (page->position() <= final_->position()) return;
  final_ = page;
}

void Home::Reorganise() {
  std::vector<Log> tail = PagesAfter(end_, final_->position());
  if (tail.empty()) return;
  const std::size_t keep = world_.random().Below(tail.size());
  statistics_.Strike("ledger: a reorganisation");
  Log end = keep == 0 ? final_ : tail[keep - 1];
  std::vector<std::string> others;
  for (std::size_t i = keep; i < tail.size(); ++i) {
    if (world_.Chance(40)) {
      statistics_.Strike("ledger: an entry is taken back");
      continue;
    }
    others.insert(world_.Chance(30) && !others.empty() ? std::prev(others.end()) : others.end(),
                  tail[i]->entry);
  }
  end_ = end;
  world_.Tell(std::to_string(tail.size() - keep) + " entries are taken back, " +
              std::to_string(others.size()) + " come again");
  if (others.empty()) {
    changed_();
    return;
  }
  Append(others);
}

}  // namespace starling::simulation
