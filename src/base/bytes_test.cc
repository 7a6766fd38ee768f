#include "base/bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

TEST(Hex, GoesThereAndBack) {
  const Bytes bytes = {std::byte{0}, std::byte{0x9a}, std::byte{0xff}};
  EXPECT_EQ(HexEncode(bytes), "009aff");
  EXPECT_EQ(HexDecode("009aff").value(), bytes);
  EXPECT_TRUE(HexDecode("").value().empty());
}

TEST(Hex, HasOneSpelling) {
  for (const std::string_view text : {"0", "0A", "0g", "0x00", " 00", "0-"})
    EXPECT_FALSE(HexDecode(text).ok()) << text;
}

TEST(Base64Url, MatchesTheVectorsOfRfc4648) {
  const std::pair<std::string_view, std::string_view> vectors[] = {
      {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "-_-_"}};
  for (const auto& [plain, text] : vectors) {
    EXPECT_EQ(Base64UrlEncode(AsBytes(plain)), text);
    EXPECT_EQ(ToString(Base64UrlDecode(text).value()), plain);
  }
}

TEST(Base64Url, RefusesPaddingForeignCharactersAndImpossibleLengths) {
  for (const std::string_view text :
       {"Zg==", "Zg=", "Z", "Zm9vY", "+/+/", "Zm 9", "Zm9v\n", "Zm.v"})
    EXPECT_FALSE(Base64UrlDecode(text).ok()) << text;
  EXPECT_THAT(Base64UrlDecode("Zh").status().message(), HasSubstr("trailing bits"));
}

TEST(Base64Url, EveryTextOfTwoOrThreeCharactersIsRefusedOrTheOnlySpellingOfItsBytes) {
  std::size_t good = 0;
  std::string text(2, '\0');
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      text = {static_cast<char>(a), static_cast<char>(b)};
      const Result<Bytes> two = Base64UrlDecode(text);
      if (two.ok()) {
        ++good;
        EXPECT_EQ(Base64UrlEncode(*two), text);
      }
      const Result<Bytes> three = Base64UrlDecode(text + "A");
      if (three.ok()) {
        EXPECT_EQ(Base64UrlEncode(*three), text + "A");
      }
    }
  }
  EXPECT_EQ(good, 256U);  // one text for each byte
}

TEST(BigEndian, WritesTheHighByteFirst) {
  Bytes bytes;
  AppendU32(0x01020304U, bytes);
  AppendU64(0x05060708090a0b0cU, bytes);
  EXPECT_EQ(HexEncode(bytes), "0102030405060708090a0b0c");
  EXPECT_EQ(ReadU32(ByteSpan(bytes).first(4)), 0x01020304U);
  EXPECT_EQ(ReadU64(ByteSpan(bytes).last(8)), 0x05060708090a0b0cU);
}

TEST(BigEndianDeathTest, ReadingTheWrongNumberOfBytesIsOurBug) {
  const Bytes bytes(5);
  EXPECT_DEATH(static_cast<void>(ReadU32(bytes)), "CHECK failed: four.size\\(\\) == 4");
}

TEST(Utf8, TakesWhatIsWellFormed) {
  for (const std::string_view text :
       {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "a\xc3\xa9z"})
    EXPECT_TRUE(IsUtf8(text)) << Printable(text);
}

TEST(Utf8, RefusesOverlongFormsSurrogatesAndWhatIsCutOff) {
  for (const std::string_view text :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2z", "\xe0\x9f\xbf", "\xe2\x82",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff", "ok\xc3"})
    EXPECT_FALSE(IsUtf8(text)) << Printable(text);
}

TEST(Printable, KeepsTextAndSpellsOutWhatWouldMoveTheCursor) {
  EXPECT_EQ(Printable("Zürich 3,5"), "Zürich 3,5");
  EXPECT_EQ(Printable("a\nb\x1b[2J\x7f"), "a\\x0ab\\x1b[2J\\x7f");
  EXPECT_EQ(Printable("\xc2\x9b"), "\\xc2\\x9b");  // CSI, which terminals obey as they do ESC [
  EXPECT_EQ(Printable("\xc2\xa0"), "\xc2\xa0");
  EXPECT_EQ(Printable("\xff\xc3"), "\\xff\\xc3");
  EXPECT_EQ(Printable(std::string_view("\0x", 2)), "\\x00x");
}

TEST(Printable, CutsBetweenCharacters) {
  EXPECT_EQ(Printable("abcdef", 6), "abcdef");
  EXPECT_EQ(Printable("abcdef", 3), "abc…");
  EXPECT_EQ(Printable("éé", 1), "é…");
}

TEST(Text, ConcatenatesStringsNumbersAndCharacters) {
  const std::string owned = "b";
  const std::string_view view = "c";
  EXPECT_EQ(StrCat("a", owned, view, 'd', 7, std::uint64_t{18446744073709551615U}, -1, 0.5),
            "abcd718446744073709551615-10.5");
  std::string text = "x";
  StrAppend(&text, absl::string_view("y"), std::uint8_t{65});
  EXPECT_EQ(text, "xy65");
}

}  // namespace
}  // namespace starling
