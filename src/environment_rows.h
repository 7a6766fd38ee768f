// The parts of the table of settings, which SettingsTable() (environment.h) puts together.
#pragma once

#include <span>

#include "environment.h"

namespace starling {

[[nodiscard]] std::span<const Setting> SwarmSettings();        // of nodes and operators
[[nodiscard]] std::span<const Setting> SpireTokensSettings();  // of `starling spire-tokens`

}  // namespace starling
