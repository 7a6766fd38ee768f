#include "crypto/sha256.h"

#include <algorithm>

#include "base/check.h"
#include "base/owned.h"
#include "openssl/evp.h"

namespace starling {
namespace {

// Fetched once: an implicit fetch for every digest costs more than a small hash.
const EVP_MD* Algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  CHECK(algorithm != nullptr);
  return algorithm;
}

}  // namespace

struct Sha256::State {
  Owned<EVP_MD_CTX, &EVP_MD_CTX_free> context{EVP_MD_CTX_new()};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  CHECK(state_->context && EVP_DigestInit_ex2(state_->context.get(), Algorithm(), nullptr) == 1);
}
Sha256::~Sha256() = default;

void Sha256::Update(ByteSpan bytes) {
  CHECK(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1);
}

Digest Sha256::Finish() {
  Digest digest;
  CHECK(EVP_DigestFinal_ex(state_->context.get(),
                           reinterpret_cast<unsigned char*>(digest.bytes.data()), nullptr) == 1);
  CHECK(EVP_DigestInit_ex2(state_->context.get(), nullptr, nullptr) == 1);
  return digest;
}

Digest HashOf(ByteSpan bytes) {
  thread_local Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

PartsHash& PartsHash::Add(ByteSpan part) {
  Bytes length;
  AppendU64(part.size(), length);
  hash_.Update(length);
  hash_.Update(part);
  return *this;
}

PartsHash& PartsHash::Add(std::uint64_t part) {
  Bytes bytes;
  AppendU64(part, bytes);
  return Add(ByteSpan(bytes));
}

Digest PartsHash::Finish() { return hash_.Finish(); }

std::string HexOf(const Digest& digest) { return HexEncode(digest.bytes); }
std::string RootText(const Digest& digest) { return "sha256:" + HexOf(digest); }
std::string ShortText(const Digest& digest) { return HexEncode(digest.span().first(4)); }

Result<Digest> ParseHexDigest(std::string_view text) {
  if (text.size() != 64) return absl::InvalidArgumentError("a digest has 64 hex digits");
  ASSIGN_OR_RETURN(const Bytes bytes, HexDecode(text));
  Digest digest;
  std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
  return digest;
}

Result<Digest> ParseRoot(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix))
    return absl::InvalidArgumentError("a root starts with \"sha256:\"");
  return ParseHexDigest(text.substr(kPrefix.size()));
}

}  // namespace starling
