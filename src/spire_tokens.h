// `starling spire-tokens`: its options, of settings and its file.
#pragma once

#include "base/result.h"
#include "environment.h"
#include "tokens/keeper.h"

namespace starling {

// Reads the configuration, and the namespace of this pod where nothing else says one. Errors are
// for people.
[[nodiscard]] Result<TokenKeeperOptions> TokenKeeperFrom(const Settings& settings);

}  // namespace starling
