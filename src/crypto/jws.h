// Compact JWS, Ed25519 only, one exact header: {"alg":"EdDSA","kid":"<thumbprint>","typ":"<typ>"}
// without spaces, members in this order. Parsing checks form only; the caller finds the key by
// `kid` and calls VerifyJws. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "crypto/ed25519.h"
#include "crypto/json.h"

namespace starling {

inline constexpr std::string_view kEntryTyp = "starling-entry";
inline constexpr std::string_view kGetTyp = "starling-get";

struct Jws {
  std::string kid;
  Json payload;               // an object, parsed strictly
  std::string signing_input;  // header.payload as it stood
  std::array<std::byte, 64> signature{};
};

[[nodiscard]] std::string SignJws(const SigningKey& key, std::string_view typ, const Json& payload);
// Payload at most kEntryBytesMax decoded; header must match exactly with `typ`; payload must be a
// JSON object.
[[nodiscard]] Result<Jws> ParseJws(std::string_view compact, std::string_view typ);
// The key must have the JWS's kid and the signature must be good.
[[nodiscard]] Status VerifyJws(const Jws& jws, const PublicKey& key);

}  // namespace starling
