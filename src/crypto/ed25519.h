// Ed25519 ledger keys. Verification is strict: S canonical, no small-order or non-canonical public
// key. Any thread.
#pragma once

#include <array>
#include <compare>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"

namespace starling {

struct PublicKey {
  std::array<std::byte, 32> bytes{};
  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;
  friend bool operator==(const PublicKey&, const PublicKey&) = default;
};

// Parses 43 base64url characters; refuses small-order and non-canonical points.
[[nodiscard]] Result<PublicKey> ParsePublicKey(std::string_view base64url);
[[nodiscard]] std::string PublicKeyText(const PublicKey& key);  // base64url, the JWK's "x"
[[nodiscard]] std::string Thumbprint(const PublicKey& key);     // RFC 7638, base64url: the kid
[[nodiscard]] bool VerifySignature(const PublicKey& key, ByteSpan message, ByteSpan signature64);

// A private key; resource, moved not copied. Sign is safe from any thread.
class SigningKey {
 public:
  static SigningKey Generate(Random& random);
  static Result<SigningKey> FromSeed(ByteSpan seed32);
  // PKCS#8 PEM file of mode 0600; made with a fresh key when absent. Refuses other kinds of key.
  static Result<SigningKey> LoadOrCreate(const std::string& path, Random& random);
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) noexcept;
  ~SigningKey();
  [[nodiscard]] const PublicKey& public_key() const;
  [[nodiscard]] const std::string& kid() const;  // Thumbprint(public_key())
  [[nodiscard]] std::array<std::byte, 64> Sign(ByteSpan message) const;

 private:
  struct Impl;
  explicit SigningKey(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace starling
