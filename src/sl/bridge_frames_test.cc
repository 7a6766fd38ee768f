#include "sl/bridge_frames.h"

#include "base/fs.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

constexpr std::string_view kOpen =
    R"({"type":"open","bridge":1,"client":"c","platform":"KERAS","contract":"t","weight":3,"rules":{"sync_interval":8,"min_peers":2,"merge":"mean"},)"
    R"("tensors":[{"name":"w","dtype":"F32","shape":[2,3]}],"total_epochs":5,"pid":1})";

TEST(Frames, AnOpenBecomesAType) {
  const Result<ProgramFrame> frame = ParseFrame(kOpen);
  ASSERT_TRUE(frame.ok()) << frame.status();
  const auto& open = std::get<OpenFrame>(*frame);
  EXPECT_EQ(open.weight, 3U);
  EXPECT_EQ(open.rules.sync_interval, 8U);
  ASSERT_EQ(open.tensors.size(), 1U);
  EXPECT_EQ(open.tensors[0], (TensorSpec{"w", DType::kF32, {2, 3}}));
}

TEST(Frames, AnotherBridgeVersionIsRefusedInHpesWords) {
  std::string text(kOpen);
  text.replace(text.find("\"bridge\":1"), 10, "\"bridge\":2");
  const Status status = ParseFrame(text).status();
  EXPECT_EQ(StableCode(status), "bridge-version");
  EXPECT_NE(std::string(status.message())
                .find("Expected version 1, but the version received from the header is 2"),
            std::string::npos);
}

TEST(Frames, HostileFramesAreRefused) {
  for (const char* bad : {"", "[]", "{}", R"({"type":"?"})", R"({"type":"sync"})",
                          R"({"type":"sync","batches":-1,"train_ms":0})",
                          R"({"type":"finish","batches":0,"train_ms":0,"mode":"x"})",
                          R"({"type":"sync","batches":0,"train_ms":0,"loss":"x"})",
                          R"({"type":"log","lines":[1]})"}) {
    EXPECT_FALSE(ParseFrame(bad).ok()) << bad;
  }
}

TEST(Frames, LengthsAreBounded) {
  const auto length = [](std::uint32_t value) {
    Bytes four;
    AppendU32(value, four);
    return FrameLength(four);
  };
  EXPECT_FALSE(length(0).ok());
  EXPECT_EQ(*length(kFrameBytesMax), kFrameBytesMax);
  EXPECT_FALSE(length(kFrameBytesMax + 1).ok());
}

TEST(Frames, AMeasureThatWasNotTakenIsNotZero) {
  const Result<ProgramFrame> frame =
      ParseFrame(R"({"type":"sync","batches":1,"train_ms":2,"loss":null,"metric":0.5})");
  ASSERT_TRUE(frame.ok());
  EXPECT_FALSE(std::get<SyncFrame>(*frame).report.loss.has_value());
  EXPECT_EQ(std::get<SyncFrame>(*frame).report.metric, 0.5);
}

TEST(Frames, TheExampleOfTheFormatDocumentDecodes) {
  const std::string text = *ReadFile("docs/formats/bridge.md");
  const std::size_t begin = text.find("00 00 00 1d");
  ASSERT_NE(begin, std::string::npos);
  std::string hex = text.substr(begin, text.find("\n```", begin) - begin);
  std::erase_if(hex, [](char c) { return c == ' ' || c == '\n'; });
  const Bytes bytes = *HexDecode(hex);
  EXPECT_EQ(*FrameLength(ByteSpan(bytes).first(4)), bytes.size() - 4);
  EXPECT_EQ(EncodeFrame(WaitingFrame("x")).size(), bytes.size());
  EXPECT_EQ(*ParseJson(AsText(ByteSpan(bytes).subspan(4))), WaitingFrame("x"));
}

}  // namespace
}  // namespace starling
