#include "crypto/ed25519.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/fs.h"
#include "base/owned.h"
#include "base/text.h"
#include "crypto/sha256.h"
#include "openssl/bio.h"
#include "openssl/crypto.h"
#include "openssl/err.h"
#include "openssl/evp.h"
#include "openssl/pem.h"

namespace starling {
namespace {

using EvpKey = Owned<EVP_PKEY, &EVP_PKEY_free>;
using Bio = Owned<BIO, &BIO_free>;
using DigestContext = Owned<EVP_MD_CTX, &EVP_MD_CTX_free>;

// Whatever OpenSSL adds to this thread's error queue goes when we leave: a TLS stream on the same
// thread would take it for its own.
class QuietErrors {
 public:
  QuietErrors() { ERR_set_mark(); }
  QuietErrors(const QuietErrors&) = delete;
  QuietErrors& operator=(const QuietErrors&) = delete;
  ~QuietErrors() { ERR_pop_to_mark(); }
};

// OpenSSL's own callback asks the terminal for a pass phrase.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*context*/) { return -1; }

const unsigned char* Raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* Raw(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }

// The y coordinates of the eight points of small order, sign bit cleared, little-endian; with p and
// p + 1, the non-canonical spellings of 0 and 1. A signature under such a key proves nothing. y ≥ p
// is refused altogether (IsCanonical).
constexpr std::string_view kSmallOrderY[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

bool IsSmallOrder(const PublicKey& key) {
  PublicKey y = key;
  y.bytes[31] &= std::byte{0x7f};
  const std::string hex = HexEncode(y.bytes);
  return std::any_of(std::begin(kSmallOrderY), std::end(kSmallOrderY),
                     [&](std::string_view each) { return each == hex; });
}

// y < p = 2^255 − 19.
bool IsCanonical(const PublicKey& key) {
  if ((key.bytes[31] & std::byte{0x7f}) != std::byte{0x7f}) return true;
  for (std::size_t i = 30; i > 0; --i) {
    if (key.bytes[i] != std::byte{0xff}) return true;
  }
  return key.bytes[0] < std::byte{0xed};
}

PublicKey PublicOf(const EVP_PKEY& key) {
  PublicKey out;
  std::size_t length = out.bytes.size();
  CHECK(EVP_PKEY_get_raw_public_key(&key, Raw(out.bytes.data()), &length) == 1 && length == 32);
  return out;
}

Result<std::string> PemOf(EVP_PKEY& key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), &key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return absl::InternalError("cannot write a key");
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

}  // namespace

Result<PublicKey> ParsePublicKey(std::string_view base64url) {
  ASSIGN_OR_RETURN(const Bytes bytes, Base64UrlDecode(base64url));
  if (bytes.size() != 32) return absl::InvalidArgumentError("an Ed25519 key has 32 bytes");
  PublicKey key;
  std::copy(bytes.begin(), bytes.end(), key.bytes.begin());
  if (!IsCanonical(key) || IsSmallOrder(key))
    return absl::InvalidArgumentError("not a usable Ed25519 key (small order or not canonical)");
  return key;
}

std::string PublicKeyText(const PublicKey& key) { return Base64UrlEncode(key.bytes); }

std::string Thumbprint(const PublicKey& key) {
  const std::string jwk =
      StrCat(R"({"crv":"Ed25519","kty":"OKP","x":")", PublicKeyText(key), "\"}");
  return Base64UrlEncode(HashOf(AsBytes(jwk)).bytes);
}

bool VerifySignature(const PublicKey& key, ByteSpan message, ByteSpan signature64) {
  // OpenSSL refuses S ≥ L (RFC 8032, 5.1.7); small-order keys are ours to refuse.
  if (signature64.size() != 64 || !IsCanonical(key) || IsSmallOrder(key)) return false;
  const QuietErrors quiet;
  const EvpKey evp(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, Raw(key.bytes.data()),
                                               key.bytes.size()));
  const DigestContext context(EVP_MD_CTX_new());
  return evp && context &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, evp.get()) == 1 &&
         EVP_DigestVerify(context.get(), Raw(signature64.data()), signature64.size(),
                          Raw(message.data()), message.size()) == 1;
}

struct SigningKey::Impl {
  EvpKey key;
  PublicKey public_key;
  std::string kid;
};

SigningKey::SigningKey(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  impl_->public_key = PublicOf(*impl_->key);
  impl_->kid = Thumbprint(impl_->public_key);
}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey& SigningKey::operator=(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;
const PublicKey& SigningKey::public_key() const { return impl_->public_key; }
const std::string& SigningKey::kid() const { return impl_->kid; }

Result<SigningKey> SigningKey::FromSeed(ByteSpan seed32) {
  if (seed32.size() != 32) return absl::InvalidArgumentError("an Ed25519 seed has 32 bytes");
  auto impl = std::make_unique<Impl>();
  impl->key = EvpKey(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, Raw(seed32.data()), seed32.size()));
  if (!impl->key) return absl::InternalError("cannot make an Ed25519 key");
  return SigningKey(std::move(impl));
}

SigningKey SigningKey::Generate(Random& random) {
  std::array<std::byte, 32> seed{};
  random.Fill(seed);
  Result<SigningKey> key = FromSeed(seed);
  OPENSSL_cleanse(seed.data(), seed.size());
  CHECK(key.ok());
  return *std::move(key);
}

Result<SigningKey> SigningKey::LoadOrCreate(const std::string& path, Random& random) {
  const Result<std::string> pem = ReadFile(path, std::size_t{16} << 10);
  if (absl::IsNotFound(pem.status())) {
    SigningKey fresh = Generate(random);
    ASSIGN_OR_RETURN(const std::string text, PemOf(*fresh.impl_->key));
    RETURN_IF_ERROR(WriteFileDurably(path, text, 0600));
    return fresh;
  }
  RETURN_IF_ERROR(pem.status());
  const QuietErrors quiet;
  const Bio bio(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())));
  auto impl = std::make_unique<Impl>();
  impl->key = EvpKey(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, nullptr));
  if (!impl->key || EVP_PKEY_get_base_id(impl->key.get()) != EVP_PKEY_ED25519) {
    return WithNext(absl::InvalidArgumentError(
                        StrCat(path, ": not an Ed25519 private key in PEM without a pass phrase")),
                    "restore the file; a new key makes a new node");
  }
  return SigningKey(std::move(impl));
}

std::array<std::byte, 64> SigningKey::Sign(ByteSpan message) const {
  const DigestContext context(EVP_MD_CTX_new());
  std::array<std::byte, 64> signature{};
  std::size_t length = signature.size();
  CHECK(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, impl_->key.get()) == 1);
  CHECK(EVP_DigestSign(context.get(), Raw(signature.data()), &length, Raw(message.data()),
                       message.size()) == 1 &&
        length == 64);
  return signature;
}

}  // namespace starling
