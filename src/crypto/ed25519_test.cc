#include "crypto/ed25519.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/fs.h"
#include "base/owned.h"
#include "base/scratch_testing.h"
#include "base/text.h"
#include "gtest/gtest.h"
#include "openssl/bio.h"
#include "openssl/err.h"
#include "openssl/evp.h"
#include "openssl/pem.h"

namespace starling {
namespace {

SigningKey KeyOf(std::string_view seed_hex) { return *SigningKey::FromSeed(*HexDecode(seed_hex)); }
SigningKey TestKey() {
  return KeyOf("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
}

TEST(Ed25519, MatchesRfc8032) {
  EXPECT_EQ(HexEncode(TestKey().public_key().bytes),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  EXPECT_EQ(HexEncode(TestKey().Sign({})),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39"
            "701cf9b46bd25bf5f0595bbe24655141438e7a100b");
  const SigningKey second =
      KeyOf("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  EXPECT_EQ(HexEncode(second.Sign(*HexDecode("72"))),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f36"
            "13d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  const SigningKey third =
      KeyOf("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
  EXPECT_EQ(HexEncode(third.Sign(HexDecode("af82").value())),
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f7"
            "60984dc6594a7c15e9716ed28dc027beceea1ec40a");
}

TEST(Ed25519, MatchesRfc8037) {
  EXPECT_EQ(PublicKeyText(TestKey().public_key()), "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
  const std::string input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
  EXPECT_EQ(
      Base64UrlEncode(TestKey().Sign(AsBytes(input))),
      "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
  EXPECT_EQ(TestKey().kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

// The eight points of small order, then other spellings of them (a sign on x = 0, y from p on),
// then points that are large but not written canonically.
constexpr std::string_view kBadKeys[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};

PublicKey Raw(std::string_view hex) {
  PublicKey key;
  const Bytes bytes = HexDecode(hex).value();
  std::copy(bytes.begin(), bytes.end(), key.bytes.begin());
  return key;
}

TEST(Ed25519, RefusesSmallOrderAndNonCanonicalKeys) {
  for (const std::string_view hex : kBadKeys)
    EXPECT_FALSE(ParsePublicKey(Base64UrlEncode(HexDecode(hex).value())).ok()) << hex;
  EXPECT_TRUE(ParsePublicKey(PublicKeyText(TestKey().public_key())).ok());
  EXPECT_FALSE(ParsePublicKey(PublicKeyText(TestKey().public_key()) + "AA").ok());
  EXPECT_FALSE(ParsePublicKey("").ok());
}

// R = the neutral point, S = 0: the equation holds for every message when the key is the neutral
// point, and often enough for the others.
TEST(Ed25519, NobodySignsForEveryMessageWithAKeyOfSmallOrder) {
  std::array<std::byte, 64> signature{};
  signature[0] = std::byte{1};
  for (const std::string_view hex : kBadKeys) {
    for (int i = 0; i < 16; ++i)
      EXPECT_FALSE(VerifySignature(Raw(hex), AsBytes(StrCat("message ", i)), signature)) << hex;
  }
}

TEST(Ed25519, RefusesSignaturesOfOtherLengths) {
  const auto signature = TestKey().Sign(AsBytes("x"));
  EXPECT_FALSE(
      VerifySignature(TestKey().public_key(), AsBytes("x"), ByteSpan(signature).first(63)));
  EXPECT_FALSE(VerifySignature(TestKey().public_key(), AsBytes("x"), {}));
  EXPECT_FALSE(VerifySignature(TestKey().public_key(), AsBytes("y"), signature));
}

TEST(Ed25519, RefusesASignatureWhoseScalarIsNotReduced) {
  auto signature = TestKey().Sign(AsBytes("x"));
  ASSERT_TRUE(VerifySignature(TestKey().public_key(), AsBytes("x"), signature));
  // S + L, little-endian.
  const Bytes order =
      *HexDecode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  unsigned carry = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    carry += std::to_integer<unsigned>(signature[32 + i]) + std::to_integer<unsigned>(order[i]);
    signature[32 + i] = static_cast<std::byte>(carry & 255U);
    carry >>= 8U;
  }
  EXPECT_FALSE(VerifySignature(TestKey().public_key(), AsBytes("x"), signature));
}

class KeyFile : public ::testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return folder_.File("key.pem"); }
  SeededRandom random_{1};

 private:
  const ScratchDirectory folder_;
};

TEST_F(KeyFile, IsPrivateAndIsReadBack) {
  const Result<SigningKey> made = SigningKey::LoadOrCreate(path(), random_);
  ASSERT_TRUE(made.ok()) << made.status();
  struct stat info {};
  ASSERT_EQ(stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
  const Result<SigningKey> read = SigningKey::LoadOrCreate(path(), random_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->kid(), made->kid());
  EXPECT_EQ(read->Sign(AsBytes("x")), made->Sign(AsBytes("x")));
}

// A private key in PEM, of another kind or with a pass phrase.
std::string PemOf(int kind, const EVP_CIPHER* cipher, std::string phrase) {
  const Owned<EVP_PKEY_CTX, &EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new_id(kind, nullptr));
  EVP_PKEY* made = nullptr;
  EXPECT_EQ(EVP_PKEY_keygen_init(context.get()), 1);
  EXPECT_EQ(EVP_PKEY_keygen(context.get(), &made), 1);
  const Owned<EVP_PKEY, &EVP_PKEY_free> key(made);
  const Owned<BIO, &BIO_free> bio(BIO_new(BIO_s_mem()));
  EXPECT_EQ(PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), cipher, phrase.data(),
                                          static_cast<int>(phrase.size()), nullptr, nullptr),
            1);
  std::string text(4096, '\0');
  text.resize(static_cast<std::size_t>(
      std::max(0, BIO_read(bio.get(), text.data(), static_cast<int>(text.size())))));
  return text;
}
std::string Encrypted() { return PemOf(EVP_PKEY_ED25519, EVP_aes_256_cbc(), "secret"); }

TEST_F(KeyFile, AnythingElseIsRefusedAndLeftAlone) {
  for (const std::string& content : {std::string("not a key"), std::string(),
                                     PemOf(EVP_PKEY_X25519, nullptr, ""), Encrypted()}) {
    ASSERT_TRUE(WriteFileDurably(path(), content, 0600).ok());
    const Result<SigningKey> key = SigningKey::LoadOrCreate(path(), random_);
    EXPECT_TRUE(absl::IsInvalidArgument(key.status())) << content;
    EXPECT_EQ(ReadFile(path()).value(), content);
  }
}

TEST_F(KeyFile, RefusalsLeaveNoErrorForTheNextUserOfOpenSsl) {
  ASSERT_TRUE(WriteFileDurably(path(), Encrypted(), 0600).ok());
  ERR_clear_error();
  EXPECT_FALSE(SigningKey::LoadOrCreate(path(), random_).ok());
  std::array<std::byte, 64> signature{};
  signature.fill(std::byte{0xff});
  EXPECT_FALSE(VerifySignature(TestKey().public_key(), AsBytes("x"), signature));
  EXPECT_EQ(ERR_peek_error(), 0U);
}

TEST(SigningKeys, ComeFromSeedsOf32Bytes) {
  EXPECT_FALSE(SigningKey::FromSeed(Bytes(31)).ok());
  EXPECT_FALSE(SigningKey::FromSeed({}).ok());
  SeededRandom one(5);
  SeededRandom same(5);
  EXPECT_EQ(SigningKey::Generate(one).kid(), SigningKey::Generate(same).kid());
  EXPECT_NE(SigningKey::Generate(one).kid(), SigningKey::Generate(one).kid());
}

TEST(SigningKeys, SignFromAnyThread) {
  const SigningKey key = TestKey();
  const auto expected = key.Sign(AsBytes("x"));
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 10; ++k) EXPECT_EQ(key.Sign(AsBytes("x")), expected);
    });
  }
}

}  // namespace
}  // namespace starling
