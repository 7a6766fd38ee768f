#include "base/log.h"

#include <string>
#include <utility>

#include "base/bytes.h"
#include "spdlog/logger.h"
#include "spdlog/pattern_formatter.h"
#include "spdlog/sinks/basic_file_sink.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace starling {
namespace {

spdlog::level::level_enum LevelOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

std::string_view NameOf(spdlog::level::level_enum level) {
  if (level >= spdlog::level::err) return "ERROR";
  if (level == spdlog::level::warn) return "WARNING";
  return level == spdlog::level::info ? "INFO" : "DEBUG";
}

// %* is ours: the level as HPE spells it.
class LevelFlag final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm& /*time*/,
              spdlog::memory_buf_t& out) override {
    const std::string_view name = NameOf(message.level);
    out.append(name.data(), name.data() + name.size());
  }
  [[nodiscard]] std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<LevelFlag>();
  }
};

// A JSON string. Names and messages are printable by now (Make, Named, Write), so only two
// characters need a backslash.
std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out + "\"";
}

class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(message.time.time_since_epoch())
            .count();
    const std::string text = fmt::format(
        "{{\"time_unix_ms\":{},\"logger\":{},\"level\":\"{}\",\"message\":{}}}\n", ms,
        Quoted(Printable({message.logger_name.data(), message.logger_name.size()})),
        NameOf(message.level), Quoted({message.payload.data(), message.payload.size()}));
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

std::unique_ptr<spdlog::formatter> FormatterFor(LogFormat format) {
  if (format == LogFormat::kJson) return std::make_unique<JsonFormatter>();
  auto text = std::make_unique<spdlog::pattern_formatter>();
  text->add_flag<LevelFlag>('*').set_pattern("%Y-%m-%d %H:%M:%S,%e : %n : %* : %v");
  return text;
}

std::shared_ptr<spdlog::logger> Make(std::string_view name, spdlog::sink_ptr sink, LogLevel level,
                                     LogFormat format) {
  sink->set_formatter(FormatterFor(format));
  auto logger = std::make_shared<spdlog::logger>(Printable(name), std::move(sink));
  logger->set_level(LevelOf(level));
  logger->flush_on(spdlog::level::debug);
  return logger;
}

}  // namespace

Log Log::ToStderr(std::string_view name, LogLevel level, LogFormat format) {
  Log log;
  log.logger_ = Make(name, std::make_shared<spdlog::sinks::stderr_sink_mt>(), level, format);
  return log;
}

Log Log::ToFile(std::string_view name, LogLevel level, LogFormat format, const std::string& path) {
  Log log;
  try {
    log.logger_ =
        Make(name, std::make_shared<spdlog::sinks::basic_file_sink_mt>(path), level, format);
  } catch (const spdlog::spdlog_ex& e) {
    log = ToStderr(name, level, format);
    log.Error("cannot log to {}, logging here instead: {}", path, e.what());
  }
  return log;
}

Log Log::Named(std::string_view name) const {
  Log other;
  if (logger_) other.logger_ = logger_->clone(Printable(name));
  return other;
}

void Log::Write(LogLevel level, std::string_view message) const {
  // One message is one line, whatever came from outside in it.
  constexpr std::size_t kMessageMax = 8192;
  if (logger_ && logger_->should_log(LevelOf(level)))
    logger_->log(LevelOf(level), Printable(message, kMessageMax));
}

}  // namespace starling
