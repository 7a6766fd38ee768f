// Home: where this SL is enrolled and with what it was, on its disk (<state_dir>/home.json), so
// that a restart goes on by itself. Written durably; the loop's thread only.
#pragma once

#include <optional>
#include <string>

#include "protocol/events.h"

namespace starling {

struct Home {
  ContractName contract;
  Position instance;
  std::uint64_t weight = 1;
  Rules stated;
};

[[nodiscard]] Status WriteHome(const std::string& state_dir, const Home& home);
// OK when there was none.
[[nodiscard]] Status RemoveHome(const std::string& state_dir);
// Nothing when there is none. DataLoss, with what to do, for a file that is not one.
[[nodiscard]] Result<std::optional<Home>> ReadHome(const std::string& state_dir);

}  // namespace starling
