// Pages of a log as another node shows them.
#include <cstdint>

#include "base/check.h"
#include "ledger/page.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const starling::Json answer = starling::Json::parse(text, nullptr, false);
  const starling::Result<starling::LedgerPage> page = starling::ParseLedgerPage(answer, 0);
  // What was taken says the same when it is shown on.
  if (page.ok()) CHECK(starling::ParseLedgerPage(starling::LedgerPageJson(*page), 0).ok());
  return 0;
}
