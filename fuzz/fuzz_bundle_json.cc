// SPIFFE bundles: what is taken holds only CAs, and what we write of it reads back the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "identity/bundle_json.h"
#include "identity/certificate.h"
#include "identity/live_source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const starling::Result<starling::BundleDocument> document = starling::ParseBundleJson(text);
  if (!document.ok()) return 0;
  for (const auto& root : document->bundle.roots) CHECK(starling::IsCa(*root));
  const starling::Result<std::string> json = starling::BundleJson(*document);
  if (!json.ok()) return 0;  // a key of a kind that is not written
  const starling::Result<starling::BundleDocument> again = starling::ParseBundleJson(*json);
  CHECK(again.ok());
  CHECK(starling::SameRoots(again->bundle, document->bundle));
  CHECK(again->sequence == document->sequence && again->refresh_hint == document->refresh_hint);
  return 0;
}
