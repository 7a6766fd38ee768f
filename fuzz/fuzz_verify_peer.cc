// A peer's certificates (DER, leaf first) before a fixed state. Nobody has the keys of these two
// CAs any more: what is believed comes from the corpus.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "identity/certificate.h"
#include "identity/svid.h"
#include "openssl/err.h"

namespace {

using starling::IdentityState;

constexpr starling::UtcTime kNow{std::chrono::milliseconds{1'700'000'000'000}};
constexpr std::size_t kCertificatesMax = 12;  // beyond what VerifyPeer() reads

constexpr std::string_view kOurs =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBuTCCAV6gAwIBAgIQUBYf/M5Bn0F22T204XkP8zAKBggqhkjOPQQDAjAgMREw\n"
    "DwYDVQQKDAhTdGFybGluZzELMAkGA1UEAwwCQ0EwHhcNMjMxMTE0MjExMzIwWhcN\n"
    "MjMxMTE0MjMxMzIwWjAgMREwDwYDVQQKDAhTdGFybGluZzELMAkGA1UEAwwCQ0Ew\n"
    "WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATGwH9nPN+tGVuQEJT7UySmU614R4Cp\n"
    "JZzM05DxcA6WHMIfcKhBiMAjrf1R35tnvy7D62SBSBETSG+KfE1LHg1/o3oweDAP\n"
    "BgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIBBjAdBgNVHQ4EFgQU4elRABEW\n"
    "GcA1wWa9u0MVvmziuR0wHwYDVR0jBBgwFoAU4elRABEWGcA1wWa9u0MVvmziuR0w\n"
    "FQYDVR0RBA4wDIYKc3BpZmZlOi8vYTAKBggqhkjOPQQDAgNJADBGAiEAztHR/lpU\n"
    "yuvM+itBBUwwf5fpfIe+3flUsP3/DAmAAw4CIQDhdXnIZqDyy7dYWp0X3woeYxJ5\n"
    "9bUJ0WeZlWmSyZU+CQ==\n"
    "-----END CERTIFICATE-----\n";
constexpr std::string_view kPartners =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBuTCCAV6gAwIBAgIQJ+fidd9rKtOwmSR1cHDY8TAKBggqhkjOPQQDAjAgMREw\n"
    "DwYDVQQKDAhTdGFybGluZzELMAkGA1UEAwwCQ0EwHhcNMjMxMTE0MjExMzIwWhcN\n"
    "MjMxMTE0MjMxMzIwWjAgMREwDwYDVQQKDAhTdGFybGluZzELMAkGA1UEAwwCQ0Ew\n"
    "WTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATdpqQdyRG/UIOBiOeOMnaxQOoZcdfu\n"
    "uL7QNUjiT/JUGG0IQ4xlwiFguhEOuSQCXh0yvu72sbV/fK6SJicYMIcto3oweDAP\n"
    "BgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIBBjAdBgNVHQ4EFgQU+Q+fmQxY\n"
    "1lMXMCd0jfQLMAjsP8UwHwYDVR0jBBgwFoAU+Q+fmQxY1lMXMCd0jfQLMAjsP8Uw\n"
    "FQYDVR0RBA4wDIYKc3BpZmZlOi8vYjAKBggqhkjOPQQDAgNJADBGAiEAjkACpRGH\n"
    "z7BETrHyM4x+vOtWEHkxfr8rF/irMsGkrncCIQDk+V9hzsahtIqbkk8F86n0N/7R\n"
    "1sAHIw2iO25LeFcunQ==\n"
    "-----END CERTIFICATE-----\n";

IdentityState MakeState() {
  IdentityState state;
  state.bundles["a"].roots = starling::ParseCertificates(kOurs).value();
  state.bundles["b"].roots = starling::ParseCertificates(kPartners).value();
  return state;
}

std::vector<std::shared_ptr<X509>> CertificatesOf(const std::uint8_t* data, std::size_t size) {
  std::vector<std::shared_ptr<X509>> certificates;
  const unsigned char* at = data;
  while (at < data + size && certificates.size() < kCertificatesMax) {
    std::shared_ptr<X509> one(d2i_X509(nullptr, &at, static_cast<long>(data + size - at)),
                              &X509_free);
    ERR_clear_error();
    if (!one) break;
    certificates.push_back(std::move(one));
  }
  return certificates;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const IdentityState kState = MakeState();
  const std::vector<std::shared_ptr<X509>> certificates = CertificatesOf(data, size);
  std::vector<X509*> chain;
  for (const auto& certificate : certificates) chain.push_back(certificate.get());
  const starling::Result<starling::SpiffeId> id =
      starling::VerifyPeer(chain, kState, {{}, {"*/sl"}}, kNow);
  CHECK(ERR_peek_error() == 0);  // or the next call into TLS would report it
  if (!id.ok()) {
    CHECK(!starling::StableCode(id.status()).empty());
    return 0;
  }
  const X509& leaf = *certificates.front();
  CHECK(starling::SpiffeIdOf(leaf).value() == *id);
  CHECK(kState.bundles.contains(std::string(id->trust_domain())));
  CHECK(id->path().ends_with("/sl"));
  CHECK(!starling::IsCa(leaf));
  CHECK(starling::NotBefore(leaf) <= kNow && kNow < starling::NotAfter(leaf));
  return 0;
}
