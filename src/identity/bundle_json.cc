#include "identity/bundle_json.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/text.h"
#include "crypto/json.h"
#include "identity/certificate.h"
#include "openssl/core_names.h"
#include "openssl/err.h"

namespace starling {
namespace {

using BigNumPtr = Owned<BIGNUM, &BN_free>;

constexpr JsonLimits kLimits{.bytes_max = 1U << 20, .depth_max = 16};
constexpr std::size_t kKeysMax = 1000;
constexpr std::size_t kCertificateTextMax = 64U << 10;
constexpr std::string_view kUse = "x509-svid";
constexpr std::array<std::string_view, 3> kKeyTypes = {"EC", "RSA", "OKP"};

std::string Base64(ByteSpan bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');  // OpenSSL ends it with a NUL
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

// RFC 4648 section 4: padded, nothing else in it.
Result<std::string> FromBase64(std::string_view text) {
  const Status bad = absl::InvalidArgumentError("not base64");
  if (text.empty() || text.size() % 4 != 0) return bad;
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  if (size < 0) return bad;
  // OpenSSL counts the padding as bytes, and lets blanks and stray bits pass.
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  if (static_cast<std::size_t>(size) != bytes.size()) return bad;
  bytes.resize(bytes.size() - padding);
  if (Base64(AsBytes(bytes)) != text) return bad;
  return bytes;
}

Result<std::shared_ptr<X509>> CertificateOf(const Json& key) {
  ASSIGN_OR_RETURN(const Json* const x5c, GetArray(key, "x5c", kKeysMax));
  if (x5c->size() != 1) {
    return absl::InvalidArgumentError(
        StrCat("x5c holds ", x5c->size(), " certificates; a bundle's key has exactly one"));
  }
  const Json& text = x5c->front();
  if (!text.is_string()) return absl::InvalidArgumentError("x5c does not hold a text");
  const auto& base64 = text.get_ref<const std::string&>();
  if (base64.size() > kCertificateTextMax) {
    return absl::ResourceExhaustedError("x5c holds too long a certificate");
  }
  ASSIGN_OR_RETURN(const std::string der, FromBase64(base64));
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* const begin = at;
  std::shared_ptr<X509> certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())),
                                    &X509_free);
  ERR_clear_error();
  if (!certificate || static_cast<std::size_t>(at - begin) != der.size()) {
    return absl::InvalidArgumentError("x5c does not hold a certificate (DER)");
  }
  if (!IsCa(*certificate)) {
    return absl::InvalidArgumentError("x5c holds a certificate that is not one of a CA");
  }
  return certificate;
}

// Null for what is to be ignored.
Result<std::shared_ptr<X509>> RootOf(const Json& key) {
  if (!key.is_object()) return absl::InvalidArgumentError("not an object");
  if (!Has(key, "use")) return std::shared_ptr<X509>();
  ASSIGN_OR_RETURN(const std::string use, GetString(key, "use"));
  if (use != kUse) return std::shared_ptr<X509>();
  ASSIGN_OR_RETURN(const std::string type, GetString(key, "kty"));
  for (const std::string_view known : kKeyTypes) {
    if (type == known) return CertificateOf(key);
  }
  return std::shared_ptr<X509>();
}

std::string_view CurveName(std::string_view group) {
  if (group == "prime256v1") return "P-256";
  if (group == "secp384r1") return "P-384";
  if (group == "secp521r1") return "P-521";
  return "";
}

// A public number of the key in base64url, filled up with zeros to `bytes_min`.
Result<std::string> NumberOf(const EVP_PKEY& key, const char* name, std::size_t bytes_min) {
  BIGNUM* number = nullptr;
  if (EVP_PKEY_get_bn_param(&key, name, &number) != 1) {
    return absl::InternalError(StrCat("reading a public key: ", TakeOpenSslErrors()));
  }
  const BigNumPtr owned(number);
  std::string bytes(std::max(static_cast<std::size_t>(BN_num_bytes(number)), bytes_min), '\0');
  BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()),
               static_cast<int>(bytes.size()));
  return Base64UrlEncode(AsBytes(bytes));
}

// Readers other than ours take the key from here and want it complete (RFC 7518 section 6).
Result<Json> PublicJwk(const EVP_PKEY& key) {
  Json jwk = Json::object();
  if (EVP_PKEY_is_a(&key, "RSA") == 1) {
    jwk["kty"] = "RSA";
    ASSIGN_OR_RETURN(jwk["n"], NumberOf(key, OSSL_PKEY_PARAM_RSA_N, 1));
    ASSIGN_OR_RETURN(jwk["e"], NumberOf(key, OSSL_PKEY_PARAM_RSA_E, 1));
    return jwk;
  }
  if (EVP_PKEY_is_a(&key, "EC") == 1) {
    std::array<char, 64> group{};
    std::size_t size = 0;
    EVP_PKEY_get_group_name(&key, group.data(), group.size(), &size);
    const std::string_view curve = CurveName({group.data(), size});
    if (!curve.empty()) {
      const auto field_bytes = static_cast<std::size_t>(EVP_PKEY_get_bits(&key) + 7) / 8;
      jwk["kty"] = "EC";
      jwk["crv"] = std::string(curve);
      ASSIGN_OR_RETURN(jwk["x"], NumberOf(key, OSSL_PKEY_PARAM_EC_PUB_X, field_bytes));
      ASSIGN_OR_RETURN(jwk["y"], NumberOf(key, OSSL_PKEY_PARAM_EC_PUB_Y, field_bytes));
      return jwk;
    }
  }
  if (EVP_PKEY_is_a(&key, "ED25519") == 1) {
    std::string raw(32, '\0');
    std::size_t size = raw.size();
    if (EVP_PKEY_get_raw_public_key(&key, reinterpret_cast<unsigned char*>(raw.data()), &size) ==
        1) {
      jwk["kty"] = "OKP";
      jwk["crv"] = "Ed25519";
      jwk["x"] = Base64UrlEncode(AsBytes(raw));
      return jwk;
    }
  }
  return absl::UnimplementedError("a CA's key is neither RSA, nor EC on a NIST curve, nor Ed25519");
}

}  // namespace

Result<BundleDocument> ParseBundleJson(std::string_view json) {
  const std::string_view where = "SPIFFE bundle";
  const Result<Json> parsed = ParseJson(json, kLimits);
  if (!parsed.ok()) return Annotate(parsed.status(), where);
  const Result<const Json*> keys = GetArray(*parsed, "keys", kKeysMax);
  if (!keys.ok()) return Annotate(keys.status(), where);
  BundleDocument document;
  for (std::size_t i = 0; i < (*keys)->size(); ++i) {
    Result<std::shared_ptr<X509>> root = RootOf((**keys)[i]);
    if (!root.ok()) return Annotate(root.status(), StrCat(where, ": key ", i + 1));
    if (*root != nullptr) document.bundle.roots.push_back(*std::move(root));
  }
  if (Has(*parsed, "spiffe_sequence")) {
    const Result<std::uint64_t> sequence = GetUint(*parsed, "spiffe_sequence");
    if (!sequence.ok()) return Annotate(sequence.status(), where);
    document.sequence = *sequence;
  }
  if (Has(*parsed, "spiffe_refresh_hint")) {
    const Result<std::uint64_t> hint = GetUint(*parsed, "spiffe_refresh_hint");
    if (!hint.ok()) return Annotate(hint.status(), where);
    document.refresh_hint = std::chrono::seconds(*hint);
  }
  return document;
}

Result<std::string> BundleJson(const BundleDocument& document) {
  Json keys = Json::array();
  for (const std::shared_ptr<X509>& root : document.bundle.roots) {
    const EVP_PKEY* const key = X509_get0_pubkey(root.get());
    if (key == nullptr) return absl::InvalidArgumentError("a CA certificate without a usable key");
    ASSIGN_OR_RETURN(Json jwk, PublicJwk(*key));
    unsigned char* der = nullptr;
    const int size = i2d_X509(root.get(), &der);
    if (size <= 0) return absl::InternalError(StrCat("writing DER: ", TakeOpenSslErrors()));
    const ByteSpan bytes(reinterpret_cast<const std::byte*>(der), static_cast<std::size_t>(size));
    jwk["x5c"] = Json::array({Base64(bytes)});
    OPENSSL_free(der);
    jwk["use"] = std::string(kUse);
    keys.push_back(std::move(jwk));
  }
  Json out = {{"keys", std::move(keys)}};
  if (document.sequence) out["spiffe_sequence"] = *document.sequence;
  if (document.refresh_hint) out["spiffe_refresh_hint"] = document.refresh_hint->count();
  return CanonicalJson(out);
}

}  // namespace starling
