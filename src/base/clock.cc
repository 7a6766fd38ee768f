#include "base/clock.h"

#include <ctime>

#include "base/check.h"
#include "fmt/format.h"

namespace starling {

Instant RealClock::Now() const {
  return Instant(std::chrono::steady_clock::now().time_since_epoch());
}

UtcTime RealClock::UtcNow() const {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

Instant ManualClock::Now() const {
  const std::scoped_lock lock(mutex_);
  return now_;
}

UtcTime ManualClock::UtcNow() const {
  const std::scoped_lock lock(mutex_);
  return utc_;
}

void ManualClock::Advance(Duration by) {
  CHECK(by >= Duration::zero());
  const std::scoped_lock lock(mutex_);
  const auto before =
      std::chrono::duration_cast<std::chrono::milliseconds>(now_.time_since_epoch());
  now_ += by;
  utc_ += std::chrono::duration_cast<std::chrono::milliseconds>(now_.time_since_epoch()) - before;
}

void ManualClock::AdvanceTo(Instant at) {
  const Instant now = Now();
  CHECK(at >= now);
  Advance(at - now);
}

void ManualClock::SetUtc(UtcTime utc) {
  const std::scoped_lock lock(mutex_);
  utc_ = utc;
}

std::int64_t UnixMs(UtcTime time) { return time.time_since_epoch().count(); }
UtcTime FromUnixMs(std::int64_t unix_ms) { return UtcTime{std::chrono::milliseconds{unix_ms}}; }
std::int64_t Millis(Duration d) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
}

std::string FormatUtc(UtcTime time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

std::string FormatLocalTime(UtcTime time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm local{};
  localtime_r(&seconds, &local);
  return fmt::format("{:02}:{:02}:{:02}", local.tm_hour, local.tm_min, local.tm_sec);
}

}  // namespace starling
