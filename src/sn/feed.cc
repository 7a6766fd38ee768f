#include "sn/feed.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"

namespace starling {

std::shared_ptr<const Snapshot> Feed::Current() const {
  const std::scoped_lock lock(mutex_);
  return snapshot_;
}

void Feed::Publish(std::shared_ptr<const Snapshot> snapshot, std::vector<EntryNote> notes) {
  std::shared_ptr<const Snapshot> old;  // Freed after the lock: a large state takes its time.
  {
    const std::scoped_lock lock(mutex_);
    notes_.insert(notes_.end(), std::make_move_iterator(notes.begin()),
                  std::make_move_iterator(notes.end()));
    CHECK(static_cast<std::int64_t>(notes_.size()) == snapshot->end.position.value() + 1);
    old = std::exchange(snapshot_, std::move(snapshot));
  }
  published_.notify_all();
}

std::optional<Digest> Feed::HeadAt(Position position) const {
  if (position.value() < -1) return std::nullopt;
  if (position.value() == -1) return Digest{};
  const auto index = static_cast<std::size_t>(position.value());
  const std::scoped_lock lock(mutex_);
  if (index >= notes_.size()) return std::nullopt;
  return notes_[index].head;
}

std::vector<EntryNote> Feed::Notes(Position from, std::size_t count) const {
  const auto begin = static_cast<std::size_t>(std::max<std::int64_t>(0, from.value()));
  const std::scoped_lock lock(mutex_);
  if (begin >= notes_.size()) return {};
  const std::size_t end = std::min(notes_.size(), begin + std::min(count, notes_.size()));
  return {notes_.begin() + static_cast<std::ptrdiff_t>(begin),
          notes_.begin() + static_cast<std::ptrdiff_t>(end)};
}

bool Feed::WaitFor(Position position, Duration span, const std::stop_token& stop) const {
  std::unique_lock lock(mutex_);
  return published_.wait_for(lock, stop, span, [&] { return snapshot_->end.position >= position; });
}

}  // namespace starling
