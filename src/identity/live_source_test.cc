#include "identity/live_source.h"

#include <string>

#include "base/fs.h"
#include "base/leaping_clock_testing.h"
#include "base/scratch_testing.h"
#include "base/starting.h"
#include "gmock/gmock.h"

namespace starling {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class Source final : public LiveSource {
 public:
  using LiveSource::LiveSource;
  using LiveSource::Publish;
  using LiveSource::SetTrouble;
};

class LiveSourceTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string LogText() const { return ReadFile(path_, 1U << 20).value_or(""); }

  const ScratchDirectory scratch_;
  const std::string path_ = scratch_.File("log");
  LeapingClock clock_;
  Source source_{"a source", clock_, Log::ToFile("id", LogLevel::kInfo, LogFormat::kText, path_)};
  const Status away_ = WithCode(absl::UnavailableError("nobody is there"), "unreachable");
};

TEST_F(LiveSourceTest, WhoIsNotThereYetIsAWarningAfterAMinute) {
  source_.SetTrouble(away_);
  source_.SetTrouble(away_);
  EXPECT_THAT(LogText(), HasSubstr("INFO : identity: unreachable: nobody is there"));
  EXPECT_THAT(LogText(), Not(HasSubstr("WARNING")));
  EXPECT_EQ(source_.Report().trouble, away_);
  clock_.Leap(kStartTogether);
  source_.SetTrouble(away_);
  EXPECT_THAT(LogText(), HasSubstr("WARNING : identity: unreachable: nobody is there"));
  const std::string before = LogText();
  source_.SetTrouble(away_);
  EXPECT_EQ(LogText(), before);
}

TEST_F(LiveSourceTest, AnEntryThatIsNotThereYetIsAWarningAfterAMinute) {
  const Status none = WithCode(absl::NotFoundError("no entry"), "no-matching-entry");
  source_.SetTrouble(none);
  EXPECT_THAT(LogText(), Not(HasSubstr("WARNING")));
  clock_.Leap(kStartTogether);
  source_.SetTrouble(none);
  EXPECT_THAT(LogText(), HasSubstr("WARNING"));
}

TEST_F(LiveSourceTest, WhatIsNotForWantOfAnAnswerIsAWarningAtOnce) {
  source_.SetTrouble(WithCode(absl::InvalidArgumentError("nonsense"), "bad-svid"));
  EXPECT_THAT(LogText(), HasSubstr("WARNING : identity: bad-svid: nonsense"));
}

TEST_F(LiveSourceTest, WhoGoesAfterAFirstStateIsAWarningAtOnce) {
  source_.Publish(std::make_shared<IdentityState>(), away_);
  const std::string before = LogText();
  source_.SetTrouble(away_);
  EXPECT_EQ(LogText(), before);
  EXPECT_THAT(LogText(), HasSubstr("WARNING : identity: unreachable"));
}

}  // namespace
}  // namespace starling
