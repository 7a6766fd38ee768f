// What only tests of the embedded home set. Private to src/ledger.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ledger/ledger.h"

namespace starling {

struct EmbeddedLedgerOptions {
  // Pages that the file may have, 0: no limit. One page too many fails as a full disk does.
  std::uint32_t pages_max = 0;
};
[[nodiscard]] Result<std::unique_ptr<Ledger>> OpenEmbeddedLedger(
    const std::string& path, const Clock& clock, const EmbeddedLedgerOptions& options);

}  // namespace starling
