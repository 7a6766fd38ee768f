// SPIFFE IDs: what is taken must read back the same, and its parts must make the whole.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "identity/spiffe_id.h"
#include "identity/svid.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using starling::SpiffeId;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const starling::Result<SpiffeId> id = SpiffeId::Parse(text);
  if (!id.ok()) return 0;
  CHECK(id->text() == text);
  CHECK("spiffe://" + std::string(id->trust_domain()) + std::string(id->path()) == text);
  CHECK(SpiffeId::Parse(id->text()).ok());
  static_cast<void>(starling::PeerPolicy{{}, {"*/sl"}}.Allows(*id));
  return 0;
}
