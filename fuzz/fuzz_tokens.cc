// What the API of Kubernetes answers to who keeps tokens in Secrets, and the file of what to keep.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "tokens/config.h"
#include "tokens/plan.h"
#include "tokens/secret.h"

namespace starling {
namespace {

void Answer(std::string_view text) {
  const SecretName name{"swarm", "sn"};
  CHECK(!SecretPatchError(422, text, name).ok());
  const Result<Secret> secret = ParseSecret(text, name);
  if (!secret.ok()) return;
  for (const auto& [key, value] : secret->data) CHECK(Base64Decode(Base64Encode(value)).ok());
  const TokenSecret held = ReadTokenSecret(*secret);
  // What is asked of SPIRE by it is one part of a path.
  CHECK(held.token.find('/') == std::string::npos);
  for (const RetiredAlias& alias : held.retired) CHECK(!alias.entry.empty());
  const SecretPatch same =
      PlanSecret(held, {.agent = held.agent, .bundle = held.bundle, .retired = held.retired});
  CHECK(same == SecretPatch{});
}

void File(const std::string& text) {
  const Result<TokensConfig> config = ParseTokensConfig(text, "f");
  if (!config.ok()) return;
  for (const SpireEntry& entry : config->entries) {
    CHECK(!entry.selectors.empty() && entry.path.starts_with('/'));
    for (const std::string& selector : entry.selectors) CHECK(selector.find(':') != 0);
  }
  for (const TokenWish& wish : config->tokens) CHECK(IsSecretName(wish.secret));
  CHECK(PlanEntries(config->entries, config->entries) == EntryPlan{});
}

}  // namespace
}  // namespace starling

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto bytes = starling::Base64Decode(text); bytes.ok())
    CHECK(starling::Base64Encode(*bytes) == text);
  starling::Answer(text);
  starling::File(text);
  return 0;
}
