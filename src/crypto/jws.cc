#include "crypto/jws.h"

#include <algorithm>

#include "base/limits.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::size_t kKidBytes = 43;       // base64url of 32 bytes
constexpr std::size_t kSignatureText = 86;  // base64url of 64 bytes

std::string HeaderOf(std::string_view kid, std::string_view typ) {
  return StrCat(R"({"alg":"EdDSA","kid":")", kid, R"(","typ":")", typ, "\"}");
}

// The kid of an exact header, or an error.
Result<std::string> KidOf(std::string_view header, std::string_view typ) {
  constexpr std::string_view kBefore = R"({"alg":"EdDSA","kid":")";
  if (header.size() < kBefore.size() + kKidBytes)
    return absl::InvalidArgumentError("JWS: the header is not ours");
  std::string kid(header.substr(kBefore.size(), kKidBytes));
  if (header != HeaderOf(kid, typ))
    return absl::InvalidArgumentError(
        StrCat("JWS: the header is not exactly ours (typ ", typ, ")"));
  ASSIGN_OR_RETURN(const Bytes thumbprint, Base64UrlDecode(kid));
  if (thumbprint.size() != 32) return absl::InvalidArgumentError("JWS: kid is not a thumbprint");
  return kid;
}

}  // namespace

std::string SignJws(const SigningKey& key, std::string_view typ, const Json& payload) {
  std::string input = StrCat(Base64UrlEncode(AsBytes(HeaderOf(key.kid(), typ))), ".",
                             Base64UrlEncode(AsBytes(JsonText(payload))));
  const auto signature = key.Sign(AsBytes(input));
  return StrCat(input, ".", Base64UrlEncode(signature));
}

Result<Jws> ParseJws(std::string_view compact, std::string_view typ) {
  constexpr std::size_t kTextMax = kEntryBytesMax / 3 * 4 + 1024;
  if (compact.size() > kTextMax)
    return absl::ResourceExhaustedError(
        StrCat("JWS of ", compact.size(), " characters; at most ", kTextMax));
  const std::size_t first = compact.find('.');
  const std::size_t second = first == std::string_view::npos ? first : compact.find('.', first + 1);
  if (second == std::string_view::npos || compact.size() - second - 1 != kSignatureText)
    return absl::InvalidArgumentError("JWS: not header.payload.signature");
  ASSIGN_OR_RETURN(const Bytes header, Base64UrlDecode(compact.substr(0, first)));
  ASSIGN_OR_RETURN(const Bytes payload,
                   Base64UrlDecode(compact.substr(first + 1, second - first - 1)));
  ASSIGN_OR_RETURN(const Bytes signature, Base64UrlDecode(compact.substr(second + 1)));
  Jws jws;
  ASSIGN_OR_RETURN(jws.kid, KidOf(AsText(header), typ));
  ASSIGN_OR_RETURN(jws.payload,
                   ParseJson(AsText(payload), {.bytes_max = kEntryBytesMax, .depth_max = 8}));
  if (!jws.payload.is_object())
    return absl::InvalidArgumentError("JWS: the payload is not an object");
  jws.signing_input = std::string(compact.substr(0, second));
  std::copy(signature.begin(), signature.end(), jws.signature.begin());
  return jws;
}

Status VerifyJws(const Jws& jws, const PublicKey& key) {
  if (Thumbprint(key) != jws.kid)
    return WithCode(absl::UnauthenticatedError("the signature is of another key"), "bad-signature");
  if (!VerifySignature(key, AsBytes(jws.signing_input), jws.signature))
    return WithCode(absl::UnauthenticatedError("the signature is not good"), "bad-signature");
  return absl::OkStatus();
}

}  // namespace starling
