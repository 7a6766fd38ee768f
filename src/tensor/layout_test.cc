#include "tensor/layout.h"

#include <algorithm>

#include "base/fs.h"
#include "base/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

std::vector<TensorSpec> Specs() {
  return {{"b", DType::kF32, {2, 3}},
          {"flag", DType::kBool, {5}},
          {"a", DType::kF32, {4}},
          {"n", DType::kI64, {}}};
}

// A header with the given JSON, padded as the canonical one is.
std::string Header(const std::string& json) {
  const std::size_t total = (8 + json.size() + 63) / 64 * 64;
  std::string text;
  for (std::size_t value = total - 8, i = 0; i < 8; ++i, value >>= 8U)
    text.push_back(static_cast<char>(value & 255U));
  text += json;
  text.resize(total, ' ');
  return text;
}

TEST(Layout, TheHeaderIsCanonical) {
  const Layout layout = *Layout::Make(Specs());
  EXPECT_EQ(
      layout.header(),
      Header(
          R"({"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[4],"data_offsets":[8,24]},)"
          R"("b":{"dtype":"F32","shape":[2,3],"data_offsets":[24,48]},"flag":{"dtype":"BOOL","shape":[5],"data_offsets":[48,53]}})"));
  EXPECT_EQ(layout.data_start() % 64, 0U);
  EXPECT_EQ(layout.size(), layout.data_start() + 53);
  EXPECT_EQ(layout.schema(), RootOf(AsBytes(layout.header())));
}

TEST(Layout, TheOrderOfTheListDoesNotMatter) {
  std::vector<TensorSpec> specs = Specs();
  std::swap(specs.front(), specs.back());
  EXPECT_EQ(Layout::Make(specs)->schema(), Layout::Make(Specs())->schema());
}

TEST(Layout, ParsesWhatItMakes) {
  const Layout layout = *Layout::Make(Specs());
  const Result<Layout> parsed = Layout::Parse(AsBytes(layout.header()));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->schema(), layout.schema());
  EXPECT_EQ(Difference(layout, *parsed), "");
}

TEST(Layout, RefusesWhatIsNotCanonical) {
  for (
      const std::string& json : {
          std::string(
              R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,12]}})"),  // wrong length
          std::string(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[4,20]}})"),  // a gap
          std::string(
              R"({"a":{"shape":[4],"dtype":"F32","data_offsets":[0,16]}})"),  // member order
          std::string(R"({"a": {"dtype":"F32","shape":[4],"data_offsets":[0,16]}})"),  // a space
          std::string(
              R"({"__metadata__":{},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})"),  // metadata
          std::string(R"({"a":{"dtype":"F8","shape":[4],"data_offsets":[0,4]}})"),  // unknown dtype
          std::string(
              R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}})"),
          std::string(R"({})"),
          std::string(R"([])"),
      }) {
    EXPECT_FALSE(Layout::Parse(AsBytes(Header(json))).ok()) << json;
  }
  EXPECT_FALSE(Layout::Parse(AsBytes("short")).ok());
  EXPECT_FALSE(Layout::Parse(AsBytes(std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10))).ok());
}

TEST(Layout, RefusesListsOutOfBounds) {
  EXPECT_FALSE(Layout::Make({}).ok());
  EXPECT_FALSE(Layout::Make({{"a", DType::kF32, {1}}, {"a", DType::kF32, {1}}}).ok());
  EXPECT_FALSE(Layout::Make({{"", DType::kF32, {1}}}).ok());
  EXPECT_FALSE(
      Layout::Make({{"a", DType::kF32, {std::uint64_t{1} << 39U, std::uint64_t{1} << 39U}}}).ok());
  EXPECT_FALSE(Layout::Make({{"a", DType::kF32, {1, 1, 1, 1, 1, 1, 1, 1, 1}}}).ok());
}

TEST(Layout, LimitsAreReachedButNotPassed) {
  EXPECT_TRUE(Layout::Make({{std::string(512, 'a'), DType::kF32, {1, 1, 1, 1, 1, 1, 1, 1}}}).ok());
  EXPECT_FALSE(Layout::Make({{std::string(513, 'a'), DType::kF32, {1}}}).ok());
  EXPECT_FALSE(Layout::Make({{"\xff", DType::kF32, {1}}}).ok());
  EXPECT_FALSE(Layout::Make({{"__metadata__", DType::kF32, {1}}}).ok());
  EXPECT_TRUE(Layout::Make({{"a", DType::kU8, {(std::uint64_t{1} << 40U) - 1}}}).ok());
  EXPECT_FALSE(Layout::Make({{"a", DType::kU8, {(std::uint64_t{1} << 40U) + 1}}}).ok());
  EXPECT_FALSE(Layout::Make({{"a", DType::kF64, {0, std::uint64_t{1} << 63U}}}).ok());
  EXPECT_FALSE(Layout::Make(std::vector<TensorSpec>(100'001, {"a", DType::kU8, {1}})).ok());
}

TEST(Layout, ALongHeaderIsRefusedBeforeItIsRead) {
  std::string text(64, ' ');
  text[3] = 1;  // 2^24 bytes of JSON, little-endian
  EXPECT_FALSE(Layout::Parse(AsBytes(text)).ok());
  text.resize((std::size_t{1} << 24U) + 8, ' ');
  EXPECT_FALSE(Layout::Parse(AsBytes(text)).ok());
}

TEST(Layout, NoElementStraddlesTwoChunks) {
  std::vector<TensorSpec> specs;
  for (const DType dtype : {DType::kBool, DType::kF16, DType::kI64, DType::kF32, DType::kU16})
    specs.push_back({std::string(NameOf(dtype)), dtype, {333'333}});
  const Layout layout = *Layout::Make(specs);
  for (const TensorPlace& tensor : layout.tensors())
    EXPECT_EQ(tensor.begin % SizeOf(tensor.spec.dtype), 0U) << tensor.spec.name;
}

TEST(Layout, EmptyTensorsAndScalarsHaveTheirPlace) {
  const Layout layout = *Layout::Make({{"none", DType::kF32, {0, 3}}, {"one", DType::kF32, {}}});
  EXPECT_EQ(layout.tensors()[0].begin, layout.tensors()[0].end);
  EXPECT_EQ(layout.size(), layout.data_start() + 4);
  EXPECT_TRUE(Layout::Parse(AsBytes(layout.header())).ok());
}

TEST(Layout, NamesAreEscapedAsRfc8785Does) {
  const Layout layout = *Layout::Make({{"a\"\\\n\x01/é\x7f", DType::kU8, {1}}});
  EXPECT_THAT(layout.header(), ::testing::HasSubstr(R"({"a\"\\\n\u0001/é)"
                                                    "\x7f\":{"));
  EXPECT_TRUE(Layout::Parse(AsBytes(layout.header())).ok());
}

// The text between the n-th line "```<mark>" of the format's page and the "```" after it.
std::string Example(const std::string& page, const std::string& mark) {
  const std::size_t at = page.find("```" + mark + "\n", page.find("## Example"));
  const std::size_t begin = page.find('\n', at) + 1;
  return at == std::string::npos ? "" : page.substr(begin, page.find("```", begin) - begin);
}

TEST(LayoutDocument, TheWorkedExampleIsWhatWeMake) {
  const std::string page =
      ReadFile(StrCat(STARLING_SOURCE_DIR, "/docs/formats/safetensors.md")).value();
  std::string hex = Example(page, "hex");
  std::erase_if(hex, [](char c) { return c == ' ' || c == '\n'; });
  const Bytes file = HexDecode(hex).value();
  const Layout layout = *Layout::Make({{"w", DType::kF32, {2, 2}}, {"n", DType::kI64, {1}}});
  ASSERT_FALSE(file.empty());
  EXPECT_EQ(AsText(file).substr(0, layout.data_start()), layout.header());
  EXPECT_EQ(file.size(), layout.size());
  std::string json = Example(page, "json");
  ASSERT_FALSE(json.empty());
  json.pop_back();
  EXPECT_EQ(layout.header().substr(8, json.size()), json);
  EXPECT_EQ(Example(page, "text"), StrCat("schema ", RootText(layout.schema()), "\nroot   ",
                                          RootText(RootOf(file)), "\n"));
  EXPECT_EQ(Layout::Parse(file)->schema(), layout.schema());
}

TEST(Layout, DifferencesAreSpelledOut) {
  const Layout here = *Layout::Make({{"w", DType::kF32, {4}}, {"x", DType::kF32, {1}}});
  const Layout there = *Layout::Make({{"w", DType::kF16, {4}}, {"y", DType::kF32, {1}}});
  EXPECT_EQ(Difference(here, there),
            "w: F32 [4] here, F16 [4] there; x: only here (F32 [1]); y: only there (F32 [1])");
  EXPECT_EQ(Difference(here, there, 1), "w: F32 [4] here, F16 [4] there; and 2 more");
}

}  // namespace
}  // namespace starling
