// RefusalBook: counts who was refused, by reason, and logs it, each reason now and then: whoever is
// refused must not be able to fill the disk. One for those who come to a server, one for the
// servers that a process' clients refuse. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/log.h"

namespace starling {

// How often, by stable code.
using RefusalCounts = std::map<std::string, std::uint64_t>;

class RefusalBook {
 public:
  // Of those who come: each reason is logged once a second at most.
  static constexpr Duration kPeersLogEvery = 1s;
  // Of those whom a process asks again every few seconds.
  static constexpr Duration kServersLogEvery = 30s;
  // `whom` stands before the address in the log, as in "refused the server 10.0.0.3:30304".
  explicit RefusalBook(Log log, std::string whom = "", Duration log_every = kPeersLogEvery)
      : log_(std::move(log)), whom_(std::move(whom)), log_every_(log_every) {}
  RefusalBook(const RefusalBook&) = delete;
  RefusalBook& operator=(const RefusalBook&) = delete;

  void Refuse(const std::string& address, const std::string& code, std::string_view why,
              LogLevel level = LogLevel::kWarning);
  [[nodiscard]] RefusalCounts counts() const;
  [[nodiscard]] const Log& log() const { return log_; }

 private:
  struct Refusals {
    std::uint64_t count = 0;
    std::uint64_t unlogged = 0;
    std::chrono::steady_clock::time_point logged_at{};
  };
  const Log log_;
  const std::string whom_;
  const Duration log_every_;
  mutable std::mutex mutex_;
  std::map<std::string, Refusals> refused_;
};

}  // namespace starling
