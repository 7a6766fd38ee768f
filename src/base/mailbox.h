// Mailbox: a bounded queue into the one thread that owns some state. Bell: wakes that thread where
// there is nothing to say. Guarded: what must be shared, only under its lock.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace starling {

// Many senders, one receiver. Push blocks when `capacity` messages wait (a full mailbox is
// back-pressure, not loss).
template <typename T>
class Mailbox {
 public:
  explicit Mailbox(std::size_t capacity = 4096) : capacity_(capacity) { CHECK(capacity > 0); }

  // False when `stop` came first; the message is then dropped.
  bool Push(T message, std::stop_token stop = {}) {
    std::unique_lock lock(mutex_);
    if (!not_full_.wait(lock, stop, [&] { return queue_.size() < capacity_; })) return false;
    queue_.push_back(std::move(message));
    not_empty_.notify_one();
    return true;
  }

  // Nothing after `span`, or when `stop` is requested and the mailbox is empty. Real time: only the
  // edge waits.
  std::optional<T> Pop(const std::stop_token& stop, Duration span) {
    std::unique_lock lock(mutex_);
    if (!not_empty_.wait_for(lock, stop, span, [&] { return !queue_.empty(); }))
      return std::nullopt;
    T message = std::move(queue_.front());
    queue_.pop_front();
    not_full_.notify_one();
    return message;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any not_empty_;
  std::condition_variable_any not_full_;
  std::deque<T> queue_;
  const std::size_t capacity_;
};

// "Look again": one ring is as good as many, and none is lost. Ringing never blocks, so it may be
// done under a lock that the waiter takes. Any thread rings, one waits.
class Bell {
 public:
  void Ring() {
    const std::scoped_lock lock(mutex_);
    rung_ = true;
    changed_.notify_one();
  }
  // Whether it was rung since the last wait; after `span` or on `stop` at the latest.
  bool Wait(const std::stop_token& stop, Duration span) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, span, [this] { return rung_; });
    return std::exchange(rung_, false);
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool rung_ = false;
};

// A value and its lock; reachable only inside With(). Do no I/O in there.
template <typename T>
class Guarded {
 public:
  template <typename... Args>
  explicit Guarded(Args&&... args) : value_(std::forward<Args>(args)...) {}
  template <typename F>
  auto With(F&& f) {
    const std::scoped_lock lock(mutex_);
    return std::forward<F>(f)(value_);
  }
  template <typename F>
  auto With(F&& f) const {
    const std::scoped_lock lock(mutex_);
    return std::forward<F>(f)(value_);
  }

 private:
  mutable std::mutex mutex_;
  T value_;
};

}  // namespace starling
