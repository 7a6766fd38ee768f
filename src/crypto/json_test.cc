#include "crypto/json.h"

#include "gtest/gtest.h"

namespace starling {
namespace {

TEST(ParseJson, RefusesWhatIJsonForbids) {
  for (const char* bad : {R"({"a":1,"a":2})", R"({"a":{"b":1,"b":1}})", "9007199254740992",
                          "-9007199254740992", "1e999", "NaN", "{\"a\":\"\xff\"}", "[1,]", "{} {}",
                          "", "nul", "{'a':1}", "123456789012345678901234567890"}) {
    EXPECT_FALSE(ParseJson(bad).ok()) << bad;
  }
  EXPECT_TRUE(ParseJson("9007199254740991").ok());
  EXPECT_TRUE(ParseJson("[1.5, -3, true, null, \"ä\"]").ok());
}

TEST(ParseJson, RefusesWhatTheLibraryWouldLetPass) {
  const std::string_view bad[] = {std::string_view("{}\0garbage", 10),  // its reader ends at a NUL
                                  std::string_view("\0", 1),
                                  "\xef\xbb\xbf{}",         // and skips a byte order mark
                                  R"({"a":1,"\u0061":2})",  // one name, spelled twice
                                  R"({"a":{"x":[{"b":1,"b":1}]}})",
                                  R"(["\ud800"])",
                                  R"(["\udc00\ud800"])",  // half a surrogate pair
                                  "\"\xed\xa0\x80\"",
                                  "[1] // comment",
                                  "/**/[1]",
                                  "01",
                                  "+1",
                                  "1.",
                                  ".5",
                                  "1e",
                                  "-",
                                  "Infinity",
                                  "[1 2]",
                                  "\"a\nb\"",
                                  "\"a",
                                  "{\"a\"}",
                                  "{1:2}",
                                  "[",
                                  "]",
                                  "{\"a\":1,}",
                                  "-1e400",
                                  "9007199254740993.0e400",
                                  "-9223372036854775809",
                                  "18446744073709551616"};
  for (const std::string_view text : bad) EXPECT_FALSE(ParseJson(text).ok()) << text;
}

TEST(ParseJson, SaysWhatIsWrongInOneLine) {
  EXPECT_EQ(ParseJson("{\"a\\n\":1,\"a\\n\":1}").status().message(),
            R"(JSON: the member "a\x0a" stands twice)");
  EXPECT_EQ(ParseJson("[9007199254740992]").status().message(), "JSON: an integer beyond 2^53");
  EXPECT_EQ(ParseJson("[[[]]]", {.bytes_max = 100, .depth_max = 2}).status().message(),
            "JSON: nested too deeply");
}

TEST(ParseJson, KeepsEveryKindOfValue) {
  const Json json = ParseJson(R"({"s":"\u00e9\ud83d\ude00\u0000","n":-9007199254740991,"f":-0.5,)"
                              R"("t":true,"z":null,"a":[[],{}],"o":{"a":{"s":1}}})")
                        .value();
  EXPECT_EQ(json.at("s"), std::string("é😀\0", 7));
  EXPECT_EQ(json.at("n"), -9007199254740991);
  EXPECT_EQ(json.at("f"), -0.5);
  EXPECT_EQ(json.at("t"), true);
  EXPECT_TRUE(json.at("z").is_null());
  EXPECT_EQ(json.at("a"), Json::array({Json::array(), Json::object()}));
  EXPECT_EQ(json.at("o").at("a").at("s"), 1);
}

TEST(ParseJson, ManyNestedBracketsAreRefusedWithoutRecursion) {
  EXPECT_FALSE(ParseJson(std::string(60'000, '[')).ok());
  EXPECT_FALSE(
      ParseJson(std::string(1'000'000, '['), {.bytes_max = 1U << 20, .depth_max = 64}).ok());
}

TEST(ParseJson, BoundsSizeAndDepth) {
  EXPECT_FALSE(ParseJson("[[[1]]]", {.bytes_max = 100, .depth_max = 2}).ok());
  EXPECT_TRUE(ParseJson("[[1]]", {.bytes_max = 100, .depth_max = 2}).ok());
  EXPECT_TRUE(
      absl::IsResourceExhausted(ParseJson("[1,2,3]", {.bytes_max = 3, .depth_max = 2}).status()));
}

TEST(CanonicalJson, SortsMembersAndWritesNoSpaces) {
  EXPECT_EQ(CanonicalJson(*ParseJson(R"({ "b" : [1, 2], "a" : "x\u0001\n" })")),
            "{\"a\":\"x\\u0001\\n\",\"b\":[1,2]}");
}

// The example of RFC 8785, 3.2.2 and 3.2.3, without its fractions.
TEST(CanonicalJson, IsThatOfRfc8785) {
  const Json json =
      ParseJson(
          R"({"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]})")
          .value();
  EXPECT_EQ(CanonicalJson(json),
            R"({"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"})");
  EXPECT_EQ(CanonicalJson(Json("\b\t\f\r\x1f\x7f")), "\"\\b\\t\\f\\r\\u001f\x7f\"");
}

TEST(CanonicalJsonDeathTest, AFractionIsOurBug) {
  EXPECT_DEATH(static_cast<void>(CanonicalJson(Json{{"a", {1, 0.5}}})), "CHECK failed");
}

TEST(JsonText, NeverThrows) {
  EXPECT_EQ(JsonText(Json{{"a", "x\xffy"}}), "{\"a\":\"x\xef\xbf\xbdy\"}");
  EXPECT_EQ(JsonText(Json{{"f", 0.5}}), R"({"f":0.5})");
}

TEST(Getters, GiveWhatIsThere) {
  const Json object =
      ParseJson(R"({"n":1,"f":0.5,"b":true,"s":"x","a":[1,2],"o":{},"z":null})").value();
  EXPECT_EQ(GetString(object, "s").value(), "x");
  EXPECT_EQ(GetNumber(object, "n").value(), 1.0);
  EXPECT_EQ(GetNumber(object, "f").value(), 0.5);
  EXPECT_TRUE(GetBool(object, "b").value());
  EXPECT_EQ(GetArray(object, "a", 2).value()->size(), 2U);
  EXPECT_TRUE(GetObject(object, "o").value()->empty());
  EXPECT_TRUE(Has(object, "z"));
  EXPECT_FALSE(Has(object, "y"));
  EXPECT_FALSE(Has(Json(1), "z"));
  EXPECT_EQ(GetUint(Json{{"n", 7}}, "n").value(), 7U);  // signed in memory
}

TEST(Getters, RefuseOtherKindsAndLongValues) {
  const Json object = ParseJson(R"({"n":1,"b":true,"s":"xyz","a":[1,2],"o":{},"z":null})").value();
  EXPECT_FALSE(GetString(object, "s", 2).ok());
  EXPECT_FALSE(GetArray(object, "a", 1).ok());
  EXPECT_FALSE(GetObject(object, "a").ok());
  EXPECT_FALSE(GetArray(object, "o", 1).ok());
  EXPECT_FALSE(GetBool(object, "n").ok());
  EXPECT_FALSE(GetNumber(object, "s").ok());
  EXPECT_FALSE(GetUint(object, "b").ok());
  EXPECT_FALSE(GetString(object, "z").ok());
  EXPECT_FALSE(GetUint(Json{{"n", -7}}, "n").ok());
  for (const Json& other : {Json::array({1}), Json(1), Json("s"), Json()}) {
    EXPECT_TRUE(absl::IsInvalidArgument(GetUint(other, "n").status()));
    EXPECT_TRUE(absl::IsInvalidArgument(OnlyMembers(other, {"n"})));
  }
}

TEST(Getters, NameTheMemberThatIsWrong) {
  const Json object = *ParseJson(R"({"n":1,"s":"x","neg":-1,"f":0.5})");
  EXPECT_EQ(*GetUint(object, "n"), 1U);
  for (const Status& status : {GetString(object, "n").status(), GetString(object, "gone").status(),
                               GetUint(object, "neg").status(), GetUint(object, "f").status()}) {
    EXPECT_TRUE(absl::IsInvalidArgument(status));
    EXPECT_NE(std::string(status.message()).find("member \""), std::string::npos);
  }
  EXPECT_FALSE(OnlyMembers(object, {"n", "s", "neg"}).ok());
  EXPECT_TRUE(OnlyMembers(object, {"n", "s", "neg", "f"}).ok());
}

}  // namespace
}  // namespace starling
