// What `starling spire-tokens` is to keep: a file of YAML. docs/identity.md shows one. Values; any
// thread.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"
#include "identity/spiffe/spire_admin.h"

namespace starling {

// A Secret that is to hold a join token.
struct TokenWish {
  std::string agent;   // the path by which entries name the agent that the token makes
  std::string secret;  // in the namespace of the configuration
  friend bool operator==(const TokenWish&, const TokenWish&) = default;
};

struct TokensConfig {
  std::string trust_domain;         // "": not said
  std::string space;                // the namespace; "": not said
  std::vector<SpireEntry> entries;  // each with the id that it gets where it is missing
  std::vector<TokenWish> tokens;
  std::vector<std::string> federation;  // trust domains; for other programs
  std::chrono::seconds token_ttl{3600};
};

inline constexpr std::size_t kTokensConfigBytesMax = std::size_t{256} << 10;

// Strict: an unknown key, a key that stands twice and a value that cannot be are InvalidArgument
// with the line, and the code bad-tokens-config. `file` is what errors call it.
[[nodiscard]] Result<TokensConfig> ParseTokensConfig(const std::string& yaml,
                                                     const std::string& file);

}  // namespace starling
