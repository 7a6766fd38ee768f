#include "swci/swci.h"

#include <algorithm>
#include <filesystem>
#include <istream>
#include <memory>
#include <ostream>
#include <sstream>
#include <utility>

#include "base/mailbox.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::size_t kListedMax = 10'000;

class Console {
 public:
  Console(SwciSession& session, std::ostream& out) : session_(session), out_(out) {}
  // False when the session is over. `echo`: show the line after the prompt.
  bool Take(const std::string& line, bool echo) {
    if (echo) out_ << session_.Prompt() << line << "\n";
    const SwciResult result = session_.Execute(line);
    for (const std::string& text : result.lines) out_ << text << "\n";
    out_ << std::flush;
    failed_ = failed_ || result.failed;
    aborted_ = result.failed && result.exit;
    return !result.exit;
  }
  bool TakeAll(std::istream& in, bool echo, const std::stop_token& stop) {
    for (std::string line; !stop.stop_requested();) {
      if (!echo) out_ << session_.Prompt() << std::flush;
      if (!std::getline(in, line)) break;
      if (line.ends_with('\r')) line.pop_back();
      if (!Take(line, echo)) return false;
    }
    return true;
  }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] bool aborted() const { return aborted_; }

 private:
  SwciSession& session_;
  std::ostream& out_;
  bool failed_ = false;
  bool aborted_ = false;
};

}  // namespace

int RunSwci(const SwciOptions& options, SwciSurroundings surroundings, std::istream& in,
            std::ostream& out, const std::stop_token& stop) {
  SwciSession session(std::move(surroundings));
  if (options.sn) session.Preset("default", *options.sn);
  Console console(session, out);
  bool goes_on = true;
  if (options.script) {
    std::istringstream script(*options.script);
    goes_on = console.TakeAll(script, true, stop);
  }
  if (!options.commands.empty()) {
    for (const std::string& command : options.commands) {
      if (goes_on && !stop.stop_requested()) goes_on = console.Take(command, true);
    }
    return console.failed() ? 1 : 0;
  }
  if (goes_on) console.TakeAll(in, !options.terminal, stop);
  return console.aborted() ? 1 : 0;
}

SwciSurroundings RealSurroundings(HttpClient& http, const std::stop_token& stop,
                                  const std::vector<Endpoint>& together) {
  SwciSurroundings out;
  out.connect = [&http, stop, together](const Endpoint& sn) -> std::unique_ptr<SnClient> {
    const bool is_first = !together.empty() && together.front() == sn;
    return std::make_unique<HttpSnClient>(http, is_first ? together : std::vector<Endpoint>{sn},
                                          stop);
  };
  out.pause = [stop](Duration span) {
    Mailbox<char> nothing(1);  // The wait that a stop ends.
    static_cast<void>(nothing.Pop(stop, span));
    return !stop.stop_requested();
  };
  out.change_directory = [](const std::string& path) -> Status {
    std::error_code error;
    std::filesystem::current_path(path, error);
    if (error) return absl::NotFoundError(StrCat(path, ": ", error.message()));
    return absl::OkStatus();
  };
  out.directory = []() -> Result<std::string> {
    std::error_code error;
    const std::string path = std::filesystem::current_path(error).string();
    if (error) return absl::NotFoundError(StrCat("current directory: ", error.message()));
    return path;
  };
  out.list_directory = [](const std::string& path) -> Result<std::vector<std::string>> {
    std::error_code error;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator it(path, error), end;
         !error && it != end && names.size() < kListedMax; it.increment(error)) {
      names.push_back(Printable(it->path().filename().string()));
    }
    if (error) return absl::NotFoundError(StrCat(path, ": ", error.message()));
    std::sort(names.begin(), names.end());
    return names;
  };
  return out;
}

}  // namespace starling
