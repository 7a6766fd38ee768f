#include "crypto/jws.h"

#include "base/fs.h"
#include "base/limits.h"
#include "base/text.h"
#include "crypto/running_head.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

SigningKey KeyOf(std::string_view seed_hex) { return *SigningKey::FromSeed(*HexDecode(seed_hex)); }
SigningKey TestKey() {
  return KeyOf("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
}

std::string Assembled(std::string_view header, std::string_view payload,
                      std::string_view signature) {
  return StrCat(Base64UrlEncode(AsBytes(header)), ".", Base64UrlEncode(AsBytes(payload)), ".",
                signature);
}

TEST(Jws, RoundTripsAndVerifies) {
  const std::string text = SignJws(TestKey(), kEntryTyp, {{"a", 1}});
  const Result<Jws> jws = ParseJws(text, kEntryTyp);
  ASSERT_TRUE(jws.ok()) << jws.status();
  EXPECT_EQ(jws->kid, TestKey().kid());
  EXPECT_EQ(jws->payload, Json({{"a", 1}}));
  EXPECT_TRUE(VerifyJws(*jws, TestKey().public_key()).ok());
  EXPECT_FALSE(
      VerifyJws(
          *jws,
          KeyOf("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").public_key())
          .ok());
}

TEST(Jws, AChangeOfAnyCharacterIsRefused) {
  const std::string text = SignJws(TestKey(), kEntryTyp, {{"a", 1}});
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    const Result<Jws> jws = ParseJws(changed, kEntryTyp);
    EXPECT_FALSE(jws.ok() && VerifyJws(*jws, TestKey().public_key()).ok()) << i;
  }
}

TEST(Jws, OnlyTheOneHeaderIsAccepted) {
  const std::string kid = TestKey().kid();
  const std::string payload = Base64UrlEncode(AsBytes("{}"));
  const std::string signature(86, 'A');
  const auto with = [&](const std::string& header) {
    return StrCat(Base64UrlEncode(AsBytes(header)), ".", payload, ".", signature);
  };
  EXPECT_TRUE(
      ParseJws(with(StrCat(R"({"alg":"EdDSA","kid":")", kid, R"(","typ":"starling-entry"})")),
               kEntryTyp)
          .ok());
  for (const std::string& header :
       {StrCat(R"({"kid":")", kid, R"(","alg":"EdDSA","typ":"starling-entry"})"),
        StrCat(R"({"alg":"none","kid":")", kid, R"(","typ":"starling-entry"})"),
        StrCat(R"({"alg":"EdDSA", "kid":")", kid, R"(","typ":"starling-entry"})"),
        StrCat(R"({"alg":"EdDSA","kid":")", kid, R"(","typ":"starling-get"})"),
        StrCat(R"({"alg":"EdDSA","kid":")", kid, R"(","typ":"starling-entry","x":1})")}) {
    EXPECT_FALSE(ParseJws(with(header), kEntryTyp).ok()) << header;
  }
}

TEST(Jws, ATooLargePayloadIsRefused) {
  const std::string text = SignJws(TestKey(), kEntryTyp, {{"a", std::string(kEntryBytesMax, 'x')}});
  EXPECT_FALSE(ParseJws(text, kEntryTyp).ok());
}

TEST(Jws, PayloadsAreStrictObjects) {
  const std::string header =
      StrCat(R"({"alg":"EdDSA","kid":")", TestKey().kid(), R"(","typ":"starling-entry"})");
  const std::string signature(86, 'A');
  EXPECT_TRUE(ParseJws(Assembled(header, R"({"a":[[1]]})", signature), kEntryTyp).ok());
  for (const std::string_view payload : {"", "[]", "1", "null", R"({"a":1,"a":2})", "{}{}",
                                         "{\"a\":\"\xff\"}", R"({"a":[[[[[[[[1]]]]]]]]})"}) {
    EXPECT_FALSE(ParseJws(Assembled(header, payload, signature), kEntryTyp).ok()) << payload;
  }
}

TEST(Jws, HasThreePartsInOneSpelling) {
  const std::string text = SignJws(TestKey(), kEntryTyp, {{"a", 1}});
  const std::size_t first = text.find('.');
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), text.substr(0, text.size() - 1),
        text + "A", text + ".", "." + text, text + "=", " " + text, text + "\n",
        text.substr(0, first), text.substr(first + 1), std::string(text).insert(first, "=")})
    EXPECT_FALSE(ParseJws(bad, kEntryTyp).ok()) << bad;
  // The last character of a signature carries four bits that mean nothing: they must be zero.
  std::string changed = text;
  changed.back() = static_cast<char>(changed.back() + 1);
  EXPECT_FALSE(ParseJws(changed, kEntryTyp).ok());
}

TEST(Jws, AKidIsAThumbprintInOneSpelling) {
  std::string kid = TestKey().kid();
  const std::string signature(86, 'A');
  const auto header = [&] {
    return StrCat(R"({"alg":"EdDSA","kid":")", kid, R"(","typ":"starling-entry"})");
  };
  EXPECT_TRUE(ParseJws(Assembled(header(), "{}", signature), kEntryTyp).ok());
  kid.back() = static_cast<char>(kid.back() + 1);  // unused bits
  EXPECT_FALSE(ParseJws(Assembled(header(), "{}", signature), kEntryTyp).ok());
  kid.back() = '"';
  EXPECT_FALSE(ParseJws(Assembled(header(), "{}", signature), kEntryTyp).ok());
  kid = TestKey().kid().substr(1);
  EXPECT_FALSE(ParseJws(Assembled(header(), "{}", signature), kEntryTyp).ok());
}

TEST(Jws, APayloadOfExactlyTheLimitIsAccepted) {
  const std::string filler(kEntryBytesMax - std::string_view(R"({"a":""})").size(), 'x');
  EXPECT_TRUE(ParseJws(SignJws(TestKey(), kEntryTyp, {{"a", filler}}), kEntryTyp).ok());
  EXPECT_FALSE(ParseJws(SignJws(TestKey(), kEntryTyp, {{"a", filler + "x"}}), kEntryTyp).ok());
}

TEST(Jws, WhatIsNotUtf8IsSignedAsReplacementCharacters) {
  const Result<Jws> jws =
      ParseJws(SignJws(TestKey(), kEntryTyp, {{"why", "bad \xff name"}}), kEntryTyp);
  ASSERT_TRUE(jws.ok()) << jws.status();
  EXPECT_EQ(jws->payload.at("why"), "bad \xef\xbf\xbd name");
}

// The line "<name><spaces><value>" of a block, or the block after "```<mark>".
std::string After(const std::string& page, const std::string& what) {
  const std::size_t at = page.find(what, page.find("## Example"));
  if (at == std::string::npos) return "";
  const std::size_t begin = at + what.size();
  return page.substr(begin, page.find('\n', begin) - begin);
}

TEST(EntryDocument, TheWorkedExampleIsWhatWeMake) {
  const std::string page = ReadFile(StrCat(STARLING_SOURCE_DIR, "/docs/formats/entry.md")).value();
  Bytes seed;
  for (int i = 0; i < 32; ++i) seed.push_back(static_cast<std::byte>(i));
  const SigningKey key = SigningKey::FromSeed(seed).value();
  EXPECT_EQ(After(page, "\nx   "), PublicKeyText(key.public_key()));
  EXPECT_EQ(After(page, "\nkid "), key.kid());
  const std::string payload = After(page, "```json\n");
  const std::string entry = After(page, "```jws\n");
  EXPECT_EQ(SignJws(key, kEntryTyp, ParseJson(payload).value()), entry);
  EXPECT_EQ(After(page, "The entry, "), StrCat(entry.size(), " characters, in one line:"));
  const Result<Jws> jws = ParseJws(entry, kEntryTyp);
  ASSERT_TRUE(jws.ok()) << jws.status();
  EXPECT_TRUE(VerifyJws(*jws, key.public_key()).ok());
  EXPECT_EQ(CanonicalJson(jws->payload), payload);
  const Digest head = ParseHexDigest(jws->payload.at("seen").at(1).get<std::string>()).value();
  EXPECT_EQ(After(page, "\nhead[7] "), HexOf(NextHead(head, entry)));
}

}  // namespace
}  // namespace starling
