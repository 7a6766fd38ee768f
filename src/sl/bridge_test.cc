#include "sl/bridge.h"

#include <sys/stat.h>

#include "base/mailbox.h"
#include "gtest/gtest.h"
#include "sl/bridge_testing.h"
#include "sl/sl_testing.h"

namespace starling {
namespace {

class BridgeTest : public ::testing::Test {
 protected:
  BridgeTest()
      : bridge_(*Bridge::Listen(
            path_, [this](BridgeEvent event) { events_.Push(std::move(event)); }, Log())) {}

  // The next event; the test fails when none comes.
  BridgeEvent Next() {
    std::optional<BridgeEvent> event = events_.Pop({}, 60s);
    EXPECT_TRUE(event.has_value());
    return event ? *std::move(event) : BridgeEvent{BridgeClosed{}};
  }

  const ScratchDirectory scratch_;
  const std::string path_ = scratch_.path() + "/s.sock";
  Mailbox<BridgeEvent> events_;
  std::unique_ptr<Bridge> bridge_;  // last: it sends to events_
};

TEST_F(BridgeTest, HandsOutFramesAndBringsAnswersBack) {
  TestProgram program(path_);
  ASSERT_TRUE(program.connected());
  ASSERT_TRUE(program.Send({{"type", "goodbye"}, {"reason", "done"}}));

  const BridgeEvent event = Next();

  const auto& frame = std::get<ProgramFrame>(event);
  EXPECT_EQ(std::get<GoodbyeFrame>(frame).reason, "done");
  EXPECT_TRUE(bridge_->Send(WaitingFrame("b")));
  EXPECT_TRUE(bridge_->Send({{"type", "ok"}}));
  EXPECT_EQ(program.Receive().at("type"), "ok");
  EXPECT_EQ(program.waited_for(), std::vector<std::string>{"b"});
}

TEST_F(BridgeTest, TheSocketIsForItsOwnerOnly) {
  struct stat about {};
  ASSERT_EQ(stat(path_.c_str(), &about), 0);

  EXPECT_EQ(about.st_mode & 0777U, 0600U);
}

TEST_F(BridgeTest, ASecondProgramIsRefusedWhileTheFirstGoesOn) {
  TestProgram first(path_);
  ASSERT_TRUE(first.Send({{"type", "log"}, {"level", "INFO"}, {"lines", Json::array({"x"})}}));
  static_cast<void>(Next());

  TestProgram second(path_);
  const Json answer = second.Receive();

  EXPECT_EQ(answer.at("code"), "program-connected");
  EXPECT_TRUE(bridge_->Send({{"type", "ok"}}));
  EXPECT_EQ(first.Receive().at("type"), "ok");
}

TEST_F(BridgeTest, AMalformedFrameIsAnsweredAndEndsTheConnection) {
  TestProgram program(path_);
  ASSERT_TRUE(program.SendRaw(std::string("\0\0\0\3{{{", 7)));

  EXPECT_EQ(program.Receive().at("type"), "error");
  EXPECT_TRUE(program.Receive().is_null());
  EXPECT_FALSE(std::get<BridgeClosed>(Next()).clean);
}

TEST_F(BridgeTest, AnOversizedFrameIsRefusedByItsLength) {
  TestProgram program(path_);
  ASSERT_TRUE(program.SendRaw(std::string("\x7f\xff\xff\xff", 4)));

  EXPECT_EQ(program.Receive().at("code"), "bad-frame");
}

TEST_F(BridgeTest, ACloseWithoutGoodbyeIsReportedAndTheNextProgramIsServed) {
  {
    TestProgram program(path_);
    ASSERT_TRUE(program.Send({{"type", "log"}, {"level", "INFO"}, {"lines", Json::array()}}));
    static_cast<void>(Next());
  }
  EXPECT_FALSE(std::get<BridgeClosed>(Next()).clean);

  TestProgram next(path_);
  ASSERT_TRUE(next.Send({{"type", "goodbye"}, {"reason", "done"}}));
  static_cast<void>(Next());
  EXPECT_TRUE(bridge_->Send({{"type", "ok"}}));
  EXPECT_EQ(next.Receive().at("type"), "ok");
}

TEST_F(BridgeTest, WithoutAProgramNothingIsSent) { EXPECT_FALSE(bridge_->Send({{"type", "ok"}})); }

TEST_F(BridgeTest, DescriptorsTravelWithTheOpenedFrame) {
  const std::unique_ptr<Arena> update = *Arena::Create(100);
  const std::unique_ptr<Arena> merged = *Arena::Create(100);
  merged->mutable_blob()[99] = std::byte{77};
  TestProgram program(path_);
  ASSERT_TRUE(program.Send({{"type", "log"}, {"level", "INFO"}, {"lines", Json::array()}}));
  static_cast<void>(Next());

  ASSERT_TRUE(bridge_->SendWithFds({{"type", "opened"},
                                    {"size", 100},
                                    {"data_start", 10},
                                    {"arena_bytes", update->arena_bytes()}},
                                   update->fd(), merged->fd()));
  const Json opened = program.Open({});

  ASSERT_EQ(opened.at("type"), "opened");
  EXPECT_EQ(program.merged()[99], std::byte{77});
  program.update()[50] = std::byte{5};
  EXPECT_EQ(update->blob()[50], std::byte{5});
}

}  // namespace
}  // namespace starling
