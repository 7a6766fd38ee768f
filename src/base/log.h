// Logging: `YYYY-MM-DD hh:mm:ss,mmm : <logger> : <LEVEL> : <message>` as HPE prints, or one JSON
// object a line. A Log is a cheap value (shared sink), made in main and passed down; any thread. A
// null Log (default) is silent: for tests.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fmt/format.h"

namespace spdlog {
class logger;
}

namespace starling {

enum class LogLevel : std::uint8_t { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };
enum class LogFormat : std::uint8_t { kText = 0, kJson = 1 };

class Log {
 public:
  Log() = default;
  // Standard error sink. `name` is what stands between the colons, e.g. "swarm.SL".
  static Log ToStderr(std::string_view name, LogLevel level, LogFormat format);
  // Appends. A file that cannot be opened is said on standard error, which then takes its place.
  static Log ToFile(std::string_view name, LogLevel level, LogFormat format,
                    const std::string& path);
  [[nodiscard]] Log Named(std::string_view name) const;  // Same sink, another name.

  template <typename... A>
  void Debug(fmt::format_string<A...> f, A&&... a) const {
    Write(LogLevel::kDebug, fmt::format(f, std::forward<A>(a)...));
  }
  template <typename... A>
  void Info(fmt::format_string<A...> f, A&&... a) const {
    Write(LogLevel::kInfo, fmt::format(f, std::forward<A>(a)...));
  }
  template <typename... A>
  void Warning(fmt::format_string<A...> f, A&&... a) const {
    Write(LogLevel::kWarning, fmt::format(f, std::forward<A>(a)...));
  }
  template <typename... A>
  void Error(fmt::format_string<A...> f, A&&... a) const {
    Write(LogLevel::kError, fmt::format(f, std::forward<A>(a)...));
  }

  template <typename... A>
  void Say(LogLevel level, fmt::format_string<A...> f, A&&... a) const {
    Write(level, fmt::format(f, std::forward<A>(a)...));
  }

 private:
  void Write(LogLevel level, std::string_view message) const;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace starling
