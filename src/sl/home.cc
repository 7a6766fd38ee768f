#include "sl/home.h"

#include <filesystem>
#include <system_error>

#include "base/fs.h"
#include "base/text.h"
#include "crypto/json.h"

namespace starling {
namespace {

constexpr std::size_t kBytesMax = std::size_t{64} << 10;

std::string PathIn(const std::string& state_dir) { return state_dir + "/home.json"; }

Result<Home> Parse(std::string_view text) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(text, {.bytes_max = kBytesMax}));
  if (!json.is_object()) return absl::InvalidArgumentError("not an object");
  Home home;
  ASSIGN_OR_RETURN(const std::string contract, GetString(json, "contract"));
  ASSIGN_OR_RETURN(home.contract, ParseContractName(contract));
  ASSIGN_OR_RETURN(const std::uint64_t instance, GetUint(json, "instance"));
  home.instance = Position{static_cast<std::int64_t>(instance)};
  ASSIGN_OR_RETURN(home.weight, GetUint(json, "weight"));
  ASSIGN_OR_RETURN(const Json* const rules, GetObject(json, "rules"));
  ASSIGN_OR_RETURN(home.stated, ParseRules(*rules));
  return home;
}

}  // namespace

Status WriteHome(const std::string& state_dir, const Home& home) {
  const Json json = {{"contract", home.contract.value()},
                     {"instance", home.instance.value()},
                     {"weight", home.weight},
                     {"rules", RulesJson(home.stated)}};
  return WriteFileDurably(PathIn(state_dir), json.dump(2) + "\n");
}

Status RemoveHome(const std::string& state_dir) {
  std::error_code error;
  std::filesystem::remove(PathIn(state_dir), error);
  return error ? absl::UnavailableError(StrCat(PathIn(state_dir), ": ", error.message()))
               : absl::OkStatus();
}

Result<std::optional<Home>> ReadHome(const std::string& state_dir) {
  std::error_code error;
  if (!std::filesystem::exists(PathIn(state_dir), error)) return std::optional<Home>();
  ASSIGN_OR_RETURN(const std::string text, ReadFile(PathIn(state_dir), kBytesMax));
  Result<Home> home = Parse(text);
  if (home.ok()) return std::optional<Home>(*std::move(home));
  return WithNext(
      WithCode(absl::DataLossError(StrCat(PathIn(state_dir), ": ", home.status().message())),
               "state-altered"),
      "remove this file: the node then enrols afresh");
}

}  // namespace starling
