// PEM files: certificates, keys, and a whole identity of which one text is certificate, key and CA
// file at once. The keys in the corpus open nothing: their CA was made for it and thrown away.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "identity/certificate.h"
#include "identity/expiry.h"
#include "identity/pem_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr starling::UtcTime kNow{std::chrono::milliseconds{1'700'000'000'000}};
  const std::string text(reinterpret_cast<const char*>(data), size);
  if (const auto certificates = starling::ParseCertificates(text); certificates.ok()) {
    CHECK(!certificates->empty());
    for (const auto& certificate : *certificates) {
      static_cast<void>(starling::SpiffeIdOf(*certificate));
      const starling::Result<std::string> pem = starling::CertificatePem(*certificate);
      if (pem.ok()) CHECK(starling::ParseCertificates(*pem).ok());
    }
  }
  if (const auto key = starling::ParseKey(text); key.ok()) CHECK(*key != nullptr);
  const starling::PemFiles files{.cert = "c", .key = "k", .cacert = "a", .capath = ""};
  const starling::PemTexts texts{.cert = text, .key = text, .cas = {{{"", "a"}, text}}};
  const auto state = starling::IdentityOf(files, texts, kNow);
  if (!state.ok()) return 0;
  const starling::Svid& svid = *(*state)->svid;
  CHECK(svid.not_before <= kNow && kNow < svid.not_after);
  CHECK((*state)->bundles.contains(std::string(svid.id.trust_domain())));
  static_cast<void>(starling::ExpiryWarnings(**state, kNow));
  return 0;
}
