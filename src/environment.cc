#include "environment.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "base/time_text.h"
#include "environment_rows.h"
#include "yaml-cpp/yaml.h"

namespace starling {
namespace {

constexpr std::array kRoles = {Role::kSn, Role::kSl, Role::kSwci, Role::kOperator,
                               Role::kSpireTokens};

bool IsFor(const Setting& setting, Role role) {
  return (setting.roles & static_cast<unsigned>(role)) != 0;
}

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0)
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.remove_suffix(1);
  return text;
}

std::optional<std::uint64_t> ParseUint(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string RolesText(unsigned roles) {
  std::string out;
  for (const Role role : kRoles) {
    if ((roles & static_cast<unsigned>(role)) != 0)
      StrAppend(&out, out.empty() ? "" : " ", RoleName(role));
  }
  return out;
}

template <std::size_t kCount>
std::string Join(const std::array<std::string_view, kCount>& items, std::string_view prefix = "") {
  std::string out;
  for (const std::string_view item : items) {
    if (!item.empty()) StrAppend(&out, out.empty() ? "" : " ", prefix, item);
  }
  return out;
}

// The first of the variables that is set to something.
template <std::size_t kCount>
std::string_view FirstSet(const std::array<std::string_view, kCount>& names,
                          const EnvironmentMap& environment) {
  for (const std::string_view name : names) {
    const auto found = environment.find(std::string(name));
    if (!name.empty() && found != environment.end() && !found->second.empty()) return name;
  }
  return {};
}

std::string_view TreatmentText(Treatment treatment) {
  switch (treatment) {
    case Treatment::kUsed:
      return "used";
    case Treatment::kAccepted:
      return "accepted";
    case Treatment::kLater:
      return "later";
  }
  return "";
}

}  // namespace

std::string_view RoleName(Role role) {
  switch (role) {
    case Role::kSn:
      return "sn";
    case Role::kSl:
      return "sl";
    case Role::kSwci:
      return "swci";
    case Role::kOperator:
      return "operator";
    case Role::kSpireTokens:
      return "spire-tokens";
  }
  return "";
}

std::span<const Setting> SettingsTable() {
  static const std::vector<Setting> kAll = [] {
    std::vector<Setting> rows;
    for (const std::span<const Setting> part : {SwarmSettings(), SpireTokensSettings()})
      rows.insert(rows.end(), part.begin(), part.end());
    return rows;
  }();
  return kAll;
}

Result<Settings> Settings::Gather(Role role, const std::map<std::string, std::string>& flags,
                                  const EnvironmentMap& environment,
                                  const std::map<std::string, std::string>& file) {
  Settings out;
  for (const Setting& setting : SettingsTable()) {
    if (!IsFor(setting, role)) continue;
    const std::string name(setting.name);
    Value value{std::string(setting.fallback), ""};
    const std::string_view variable = FirstSet(setting.env, environment);
    const std::string_view variable_03 = FirstSet(setting.env_03, environment);
    if (const auto flag = flags.find(name); flag != flags.end()) {
      value = {flag->second, StrCat("--", name)};
      // Only 0.3's launcher has these flags.
      out.hpe03_ = out.hpe03_ || (setting.env[0].empty() && !setting.env_03[0].empty());
    } else if (!variable.empty()) {
      value = {environment.at(std::string(variable)), std::string(variable)};
    } else if (!variable_03.empty()) {
      value = {environment.at(std::string(variable_03)), std::string(variable_03)};
      out.hpe03_ = true;
    } else if (const auto kept = file.find(name); kept != file.end()) {
      value = {kept->second, StrCat("starling.yaml: ", name)};
    }
    if (!value.source.empty() && setting.treatment == Treatment::kLater) {
      return WithNext(
          WithCode(absl::UnimplementedError(StrCat(value.source, ": ", setting.meaning)),
                   "not-yet"),
          "leave it out");
    }
    if (!value.source.empty() && setting.treatment == Treatment::kAccepted &&
        std::find(out.notes_.begin(), out.notes_.end(), setting.meaning) == out.notes_.end()) {
      out.notes_.emplace_back(setting.meaning);
    }
    const bool fresh = out.values_.emplace(name, std::move(value)).second;
    CHECK(fresh);  // One row a name and role.
  }
  return out;
}

bool Settings::Given(std::string_view name) const {
  const auto found = values_.find(name);
  CHECK(found != values_.end());
  return !found->second.source.empty();
}

std::string Settings::Text(std::string_view name) const {
  const auto found = values_.find(name);
  CHECK(found != values_.end());
  return found->second.text;
}

std::vector<std::string> Settings::List(std::string_view name) const {
  std::vector<std::string> items;
  const std::string text = Text(name);
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    if (const std::string_view item = Trim(std::string_view(text).substr(begin, comma - begin));
        !item.empty()) {
      items.emplace_back(item);
    }
    begin = comma + 1;
  }
  return items;
}

Status Settings::Bad(std::string_view name, std::string_view wanted) const {
  const Value& value = values_.find(name)->second;
  return WithNext(WithCode(absl::InvalidArgumentError(
                               StrCat(value.source.empty() ? StrCat("--", name) : value.source,
                                      ": \"", Printable(value.text, 60), "\" is not ", wanted)),
                           "bad-setting"),
                  "starling env lists every setting");
}

Result<std::uint16_t> Settings::Port(std::string_view name) const {
  const std::optional<std::uint64_t> value = ParseUint(Text(name));
  if (!value || *value > 65535) return Bad(name, "a port (0 to 65535)");
  return static_cast<std::uint16_t>(*value);
}

Result<bool> Settings::Bool(std::string_view name) const {
  const std::string text = Lower(Text(name));
  if (text == "true" || text == "1" || text == "yes" || text == "on") return true;
  if (text == "false" || text == "0" || text == "no" || text == "off" || text.empty()) return false;
  return Bad(name, "true or false");
}

Result<std::uint64_t> Settings::Number(std::string_view name, std::uint64_t max) const {
  const std::optional<std::uint64_t> value = ParseUint(Text(name));
  if (!value || *value > max) return Bad(name, StrCat("a number up to ", max));
  return *value;
}

Result<Duration> Settings::Span(std::string_view name) const {
  const std::optional<Duration> span = ParseSpan(Text(name));
  if (!span) return Bad(name, "a time (30, 30s, 500ms, 10m, 1h)");
  return *span;
}

Result<std::map<std::string, std::string>> ParseSettingsFile(const std::string& yaml, Role role) {
  std::map<std::string, std::string> out;
  const auto known = [](const std::string& name) {
    const auto table = SettingsTable();
    return std::any_of(table.begin(), table.end(),
                       [&](const Setting& setting) { return setting.name == name; });
  };
  const auto bad = [](std::string_view what) {
    return WithNext(
        WithCode(absl::InvalidArgumentError(StrCat("starling.yaml: ", what)), "bad-setting"),
        "starling env lists every setting");
  };
  const auto is_role = [](const std::string& name) {
    return std::any_of(kRoles.begin(), kRoles.end(), [&](Role r) { return RoleName(r) == name; });
  };
  try {
    const YAML::Node root = YAML::Load(yaml);
    if (root.IsNull()) return out;
    if (!root.IsMap()) return bad("not a map of settings");
    std::map<std::string, std::string> for_role;
    for (const auto& item : root) {
      const std::string name = item.first.as<std::string>();
      if (item.second.IsScalar() && known(name)) {
        out[name] = item.second.as<std::string>();
      } else if (item.second.IsMap() && is_role(name)) {
        for (const auto& inner : item.second) {
          const std::string inner_name = inner.first.as<std::string>();
          if (!inner.second.IsScalar() || !known(inner_name))
            return bad(StrCat(name, ": no setting \"", Printable(inner_name, 60), "\""));
          if (name == RoleName(role)) for_role[inner_name] = inner.second.as<std::string>();
        }
      } else {
        return bad(StrCat("no setting \"", Printable(name, 60), "\""));
      }
    }
    for (auto& [name, value] : for_role)
      out[name] = value;  // The section wins over the common part.
  } catch (const YAML::Exception& error) {
    return bad(Printable(error.what(), 120));
  }
  return out;
}

std::string EnvironmentText() {
  std::string out =
      "Precedence: flag, environment (left to right), starling.yaml, default. Flags are "
      "case-insensitive; --flag value or --flag=value.\n"
      "\"accepted\": taken from HPE's world without effect; \"later\": refused, comes in a later "
      "release.\n\n";
  for (const Setting& setting : SettingsTable()) {
    StrAppend(&out, "--", setting.name, "  [", RolesText(setting.roles), "]");
    if (setting.treatment != Treatment::kUsed)
      StrAppend(&out, "  (", TreatmentText(setting.treatment), ")");
    StrAppend(&out, "\n    ", setting.meaning, "\n");
    if (!setting.flags[0].empty()) StrAppend(&out, "    also: ", Join(setting.flags, "--"), "\n");
    if (!setting.env[0].empty()) StrAppend(&out, "    environment: ", Join(setting.env), "\n");
    if (!setting.env_03[0].empty())
      StrAppend(&out, "    environment of 0.3: ", Join(setting.env_03), "\n");
    if (!setting.fallback.empty()) StrAppend(&out, "    default: ", setting.fallback, "\n");
  }
  return out;
}

Json EnvironmentJson() {
  const auto list = [](const auto& names) {
    Json out = Json::array();
    for (const std::string_view name : names) {
      if (!name.empty()) out.push_back(std::string(name));
    }
    return out;
  };
  Json out = Json::array();
  for (const Setting& setting : SettingsTable()) {
    Json roles = Json::array();
    for (const Role role : kRoles) {
      if (IsFor(setting, role)) roles.push_back(std::string(RoleName(role)));
    }
    out.push_back({{"roles", std::move(roles)},
                   {"name", std::string(setting.name)},
                   {"flags", list(setting.flags)},
                   {"environment", list(setting.env)},
                   {"environment_03", list(setting.env_03)},
                   {"default", std::string(setting.fallback)},
                   {"treatment", std::string(TreatmentText(setting.treatment))},
                   {"meaning", std::string(setting.meaning)}});
  }
  return out;
}

}  // namespace starling
