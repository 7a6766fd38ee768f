// Entries: compact JWS, strict JSON, statements and claims; then the whole replay.
#include <cstdint>

#include "crypto/jws.h"
#include "protocol/replay.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static_cast<void>(starling::ParseJws(text, starling::kEntryTyp));
  static_cast<void>(starling::ParseNodeClaim(text));
  if (const starling::Result<starling::Json> json = starling::ParseJson(text); json.ok()) {
    static_cast<void>(starling::ParseStatement(*json));
    static_cast<void>(starling::ParseRules(*json));
  }
  starling::Replay replay;
  static_cast<void>(replay.Apply(text));
  return 0;
}
