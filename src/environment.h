// Flags, environment variables and starling.yaml, by one table: what each setting is called with us
// and with HPE, for whom, and what it means. The table drives parsing, `starling env` and the
// tests. Values and pure functions; the process's environment comes in as a map.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "crypto/json.h"

namespace starling {

enum class Role : std::uint8_t {
  kSn = 1,
  kSl = 2,
  kSwci = 4,
  kOperator = 8,  // training, status
  kSpireTokens = 16
};
[[nodiscard]] std::string_view RoleName(Role role);

enum class Treatment : std::uint8_t {
  kUsed,
  kAccepted,  // taken from HPE's world, without effect here; one line says so
  kLater,     // refused: comes in a later release
};

struct Setting {
  unsigned roles = 0;                           // Role values, or-ed
  std::string_view name;                        // our flag (--name), and the key in starling.yaml
  std::array<std::string_view, 4> flags = {};   // other spellings, HPE's; lower case
  std::array<std::string_view, 4> env = {};     // ours and 2.x's, first come first served
  std::array<std::string_view, 3> env_03 = {};  // 0.3's, looked at last
  std::string_view fallback;
  std::string_view meaning;  // for kAccepted and kLater: the line that is said
  bool toggle = false;       // the flag alone means true
  Treatment treatment = Treatment::kUsed;
};
[[nodiscard]] std::span<const Setting> SettingsTable();

using EnvironmentMap = std::map<std::string, std::string>;

// The settings of one process, gathered in order of precedence: flag, environment, file, default.
// An empty environment variable counts as unset.
class Settings {
 public:
  // `flags` and `file` are keyed by our names. Refuses kLater settings that were given, with their
  // own words.
  static Result<Settings> Gather(Role role, const std::map<std::string, std::string>& flags,
                                 const EnvironmentMap& environment,
                                 const std::map<std::string, std::string>& file);

  [[nodiscard]] bool Given(std::string_view name) const;  // by anything but the default
  [[nodiscard]] std::string Text(std::string_view name)
      const;  // "" when neither given nor defaulted; CHECKs that the table has it
  [[nodiscard]] std::vector<std::string> List(
      std::string_view name) const;  // split at commas, blanks trimmed, empty items dropped
  // The error names where the value came from.
  [[nodiscard]] Result<std::uint16_t> Port(std::string_view name) const;
  [[nodiscard]] Result<bool> Bool(std::string_view name) const;
  [[nodiscard]] Result<std::uint64_t> Number(std::string_view name, std::uint64_t max) const;
  [[nodiscard]] Result<Duration> Span(
      std::string_view name) const;  // "30" (seconds), "500ms", "30s", "10m", "1h"
  // A name or a spelling that only HPE 0.3 knows was used.
  [[nodiscard]] bool hpe03() const { return hpe03_; }
  // One line each about settings that are accepted and have no effect.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }

 private:
  struct Value {
    std::string text;
    std::string source;  // "--sn-api-port", "API_SERVER_PORT", "starling.yaml: sn-api-port", ""
  };
  [[nodiscard]] Status Bad(std::string_view name, std::string_view wanted) const;
  std::map<std::string, Value, std::less<>> values_;
  std::vector<std::string> notes_;
  bool hpe03_ = false;
};

// The text of a starling.yaml: a map of our names, and maps of them under "sn", "sl", "swci".
// Refuses names that the table lacks.
[[nodiscard]] Result<std::map<std::string, std::string>> ParseSettingsFile(const std::string& yaml,
                                                                           Role role);

// `starling env`.
[[nodiscard]] std::string EnvironmentText();
[[nodiscard]] Json EnvironmentJson();

}  // namespace starling
