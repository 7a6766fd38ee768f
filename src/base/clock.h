// Time as an argument. Instant is monotonic, never stored; UtcTime is stored and compared with
// certificates; they do not convert. RealClock is constructed in main and in tests of the edge
// only. Clocks are safe from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace starling {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;  // NOLINT(google-global-names-in-headers): 5s and 100ms read
                                       // better everywhere.

struct MonotonicTag {
  using duration = Duration;
  using rep = Duration::rep;
  using period = Duration::period;
  static constexpr bool is_steady = true;
};
using Instant = std::chrono::time_point<MonotonicTag, Duration>;
using UtcTime = std::chrono::sys_time<std::chrono::milliseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual Instant Now() const = 0;
  [[nodiscard]] virtual UtcTime UtcNow() const = 0;
};

class RealClock final : public Clock {
 public:
  [[nodiscard]] Instant Now() const override;
  [[nodiscard]] UtcTime UtcNow() const override;
};

// A clock that moves only when told. Both times move together unless SetUtc() says otherwise.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(UtcTime utc = UtcTime{std::chrono::milliseconds{1'700'000'000'000}})
      : utc_(utc) {}
  [[nodiscard]] Instant Now() const override;
  [[nodiscard]] UtcTime UtcNow() const override;
  void Advance(Duration by);
  void AdvanceTo(Instant at);  // CHECKs that time does not run backwards.
  void SetUtc(UtcTime utc);

 private:
  mutable std::mutex mutex_;
  Instant now_{};
  UtcTime utc_;
};

[[nodiscard]] std::int64_t UnixMs(UtcTime time);
[[nodiscard]] UtcTime FromUnixMs(std::int64_t unix_ms);
[[nodiscard]] std::string FormatUtc(UtcTime time);        // "2026-11-24T10:31:07.123Z"
[[nodiscard]] std::string FormatLocalTime(UtcTime time);  // "10:31:07" in local time, for people
[[nodiscard]] std::int64_t Millis(Duration d);

}  // namespace starling
