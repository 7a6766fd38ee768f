#include "crypto/running_head.h"

namespace starling {

Digest NextHead(const Digest& previous, std::string_view entry) {
  Bytes length;
  AppendU32(static_cast<std::uint32_t>(entry.size()), length);
  Sha256 hash;
  hash.Update(previous.span());
  hash.Update(length);
  hash.Update(AsBytes(entry));
  return hash.Finish();
}

}  // namespace starling
