#include "kube/manifest.h"

#include <string>

#include "base/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kube/yaml_text.h"
#include "yaml-cpp/yaml.h"

namespace starling::kube {
namespace {

using ::testing::HasSubstr;

std::string ErrorOf(const std::string& text, const ManifestLimits& limits = {}) {
  const auto parsed = ParseManifests("a.yaml", text, limits);
  return parsed.ok() ? "" : std::string(parsed.status().message());
}

OrderedJson JsonOf(const std::string& text) {
  const auto parsed = ParseManifests("a.yaml", text);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() && !parsed->empty() ? ToJson(parsed->front()) : OrderedJson();
}

TEST(Manifest, KeepsOrderAndPlaces) {
  const auto parsed = ParseManifests("a.yaml", "b: 1\na:\n  - x\n  - y: z\n");
  ASSERT_TRUE(parsed.ok());
  const Node& root = parsed->at(0);
  EXPECT_EQ(root.members[0].key, "b");
  EXPECT_EQ(root.members[1].value.members[1].value.Find("y")->line, 4);
  EXPECT_EQ(root.members[1].value.members[1].value.Find("y")->column, 8);
}

TEST(Manifest, ReadsScalarsAsKubectlDoes) {
  EXPECT_EQ(JsonOf("[1, '1', true, \"true\", 0644, 1.5, ~, -3, 08, 'yes', 0, 007, 1:30]").dump(),
            R"([1,"1",true,"true",420,"1.5",null,-3,8,"yes",0,7,"1:30"])");
  EXPECT_EQ(
      JsonOf("[0o17, 0x10, -0x1, 0b11, 1_000, +1, -0, _1, 0o8, 0x, 0x-1, --1, +, -, 1e3x]").dump(),
      R"([15,16,-1,3,1000,1,0,"_1","0o8","0x","0x-1","--1","+","-","1e3x"])");
}

// What kubectl 1.37 was seen to send for each of them.
TEST(Manifest, ReadsTruthsAndNullAsKubectlDoes) {
  EXPECT_EQ(JsonOf("[True, TRUE, true, yes, Yes, YES, on, On, ON, y, Y]"),
            OrderedJson(std::vector<bool>(11, true)));
  EXPECT_EQ(JsonOf("[False, FALSE, false, no, No, NO, off, Off, OFF, n, N]"),
            OrderedJson(std::vector<bool>(11, false)));
  EXPECT_EQ(JsonOf("[~, null, Null, NULL]").dump(), "[null,null,null,null]");
  EXPECT_EQ(JsonOf("[tRue, yEs, nULL, oN, 'True', \"no\", 'Null', yes.]").dump(),
            R"(["tRue","yEs","nULL","oN","True","no","Null","yes."])");
}

TEST(Manifest, LeavesOutEmptyDocuments) {
  const auto parsed = ParseManifests("a.yaml", "---\n---\n# nothing\n---\na: 1\n---\n");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->size(), 1U);
}

TEST(Manifest, RefusesWhatIsAmbiguousAndSaysWhere) {
  EXPECT_EQ(ErrorOf("a: 1\nb: 2\na: 3\n"), "a.yaml:3:1: the key a twice");
  EXPECT_THAT(ErrorOf("a:\n\tb: 1\n"), HasSubstr("a.yaml:2:1: a tab"));
  EXPECT_THAT(ErrorOf("a: &x {b: 1}\nc:\n  <<: *x\n"), HasSubstr("a.yaml:3:3: a merge key"));
  EXPECT_THAT(ErrorOf("a: !!binary aGk=\n"), HasSubstr("a.yaml:1:4: the tag"));
  EXPECT_THAT(ErrorOf("? [a]\n: 1\n"), HasSubstr("a key that is no text"));
  EXPECT_THAT(ErrorOf("a: \x01\n"), HasSubstr("a.yaml:1:4: a control character"));
  EXPECT_THAT(ErrorOf("a: \xff\n"), HasSubstr("not UTF-8"));
  EXPECT_THAT(ErrorOf("a: [1\nb: 2\n"), HasSubstr("a.yaml:"));
  EXPECT_THAT(ErrorOf("a: *nobody\n"), HasSubstr("a.yaml:1:"));
  EXPECT_THAT(ErrorOf("a: &x [*x]\n"), HasSubstr("a.yaml:1:"));
}

TEST(Manifest, BoundsBytesDepthValuesAndDocuments) {
  EXPECT_THAT(ErrorOf("a: 12345\n", {.bytes_max = 8}), HasSubstr("larger than 8 bytes"));
  EXPECT_THAT(ErrorOf("a: [1, 2, 3]\n", {.nodes_max = 4}), HasSubstr("more than 4 values"));
  EXPECT_THAT(ErrorOf("a: 1\n---\nb: 1\n", {.documents_max = 1}),
              HasSubstr("more than 1 documents"));
  EXPECT_THAT(ErrorOf(std::string(65, '[') + std::string(65, ']')),
              HasSubstr("deeper than 64 levels"));
  EXPECT_EQ(ErrorOf(std::string(64, '[') + std::string(64, ']')), "");
  EXPECT_THAT(ErrorOf(std::string(400'000, '[')), HasSubstr("a.yaml:1:"));
}

TEST(Manifest, CountsWhatAliasesRepeat) {
  EXPECT_EQ(JsonOf("a: &x [1, 2]\nb: *x\n").dump(), R"({"a":[1,2],"b":[1,2]})");
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    const std::string old = StrCat("*a", i - 1);
    StrAppend(&bomb, "a", i, ": &a", i, " [", old);
    for (int j = 1; j < 10; ++j) StrAppend(&bomb, ", ", old);
    StrAppend(&bomb, "]\n");
  }
  EXPECT_THAT(ErrorOf(bomb), HasSubstr("aliases that make it more than 50000 values"));
  std::string deep = "a0: &a0 [x]\n";
  for (int i = 1; i < 70; ++i) StrAppend(&deep, "a", i, ": &a", i, " [*a", i - 1, "]\n");
  EXPECT_THAT(ErrorOf(deep), HasSubstr("deeper than 64 levels"));
}

TEST(Manifest, MarksEachLeafOnce) {
  auto parsed = ParseManifests("a.yaml", "a: {b: 1, c: []}\n");
  ASSERT_TRUE(parsed.ok());
  Node& root = parsed->front();
  Mark(*root.Find("a", "b"), Rule::kName);
  Mark(root, Rule::kLabels);
  EXPECT_EQ(root.Find("a", "b")->verdict->rule, Rule::kName);
  EXPECT_EQ(root.Find("a", "c")->verdict->rule, Rule::kLabels);
}

// What is written reads back as the same, by our reader and by yaml-cpp's own.
TEST(YamlText, ReadsBackAsWhatItWas) {
  const OrderedJson value = {
      {"words", {"yes", "No", "TRUE", "Null", "off", "Y",   "0b1",  "+1",  "1_0", "null",
                 "~",   "1",  "1.5",  "0x1f", "",    " a ", "a: b", "- a", "#",   "é"}},
      {"lines", "first\n  second\n\nthird\n"},
      {"tail", "a\n\n"},
      {"tabs", "a\n\tb\n"},
      {"odd", "\x7f\xc2\x85\xe2\x80\xa8\xef\xbb\xbf"},
      {"nested", {{{"a", {1, {{"b", {{"c", nullptr}}}}, OrderedJson::array({2, 3})}}}}},
      {"empty", {OrderedJson::array(), OrderedJson::object()}},
      {"true", true},
      {"a/b", -7}};
  const std::string text = YamlText(value);
  EXPECT_EQ(JsonOf(text), value) << text;
  EXPECT_EQ(YAML::Load(text)["odd"].as<std::string>(), value["odd"].get<std::string>());
  EXPECT_EQ(YAML::Load(text)["lines"].as<std::string>(), value["lines"].get<std::string>());
}

TEST(YamlText, IsWrittenAsPeopleWriteIt) {
  EXPECT_EQ(YamlText(OrderedJson{{"a", {{{"b", 1}, {"c", "x"}}, "z"}}, {"d", "1"}}),
            "a:\n- b: 1\n  c: x\n- z\nd: \"1\"\n");
}

}  // namespace
}  // namespace starling::kube
