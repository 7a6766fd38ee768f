#include "protocol/progress.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

Progress Merging() {
  Progress progress;
  progress.round = RoundId{3};
  progress.attempt = AttemptId{1};
  progress.phase = Phase::kMerging;
  progress.done_bytes = 5 << 20;
  progress.waiting_for = {NodeName{"b"}, NodeName{"c"}};
  return progress;
}

TEST(ProgressTest, TravelsAsJson) {
  Progress training = Merging();
  training.training_on = RoundId{4};
  training.training_ms = 12'345;
  Progress troubled = Merging();
  troubled.troubles = {{"the disk is full", "make room"},
                       {"the program is stopped", "let it go on"}};
  troubled.time_unix_ms = 1'700'000'000'000;
  for (const Progress& progress : {Merging(), training, troubled, Progress{}}) {
    const Result<Progress> back = ParseProgress(ProgressJson(progress));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, progress);
  }
}

TEST(ProgressTest, AnAnswerOfAnotherShapeIsAFailedProbe) {
  for (const auto& [member, value] :
       std::vector<std::pair<const char*, Json>>{{"round", -1},
                                                 {"round", "3"},
                                                 {"attempt", nullptr},
                                                 {"phase", "resting"},
                                                 {"done_bytes", 0.5},
                                                 {"waiting_for", {"b", "no name!"}},
                                                 {"training_on", true},
                                                 {"troubles", "none"},
                                                 {"troubles", {{{"what", "no next"}}}},
                                                 {"time_unix_ms", "now"}}) {
    Json json = ProgressJson(Merging());
    json[member] = value;
    const ProbeAnswer answer = ProbeAnswerOf(json);
    EXPECT_FALSE(answer.answered()) << member;
    EXPECT_THAT(answer.why, HasSubstr(member));
  }
  EXPECT_TRUE(ProbeAnswerOf(ProgressJson(Merging())).answered());
}

TEST(ProgressTest, ATransportsErrorIsAFailedProbeWithTheNextStep) {
  const ProbeAnswer answer = ProbeAnswerOf(
      WithCode(absl::UnavailableError("c:1: Connection refused"), "connection-refused"));
  EXPECT_FALSE(answer.answered());
  EXPECT_EQ(answer.why, "its port is closed: c:1: Connection refused");
  EXPECT_THAT(answer.next, HasSubstr("open its port"));
}

TEST(ProgressTest, ForWantOfAnIdentityOfItsOwnNothingIsSaidOfTheNode) {
  EXPECT_TRUE(
      ProbeAnswerOf(WithCode(absl::UnavailableError("it has expired"), "no-identity")).own_fault);
  EXPECT_FALSE(
      ProbeAnswerOf(WithCode(absl::UnavailableError("it has none"), "peer-no-identity")).own_fault);
}

TEST(ProgressTest, AClockThatIsOffIsATroubleOfThatNode) {
  const UtcTime now = FromUnixMs(1'700'000'000'000);
  Progress progress = Merging();
  progress.troubles = {{"the disk is full", "make room"}};
  for (const std::int64_t ahead_ms : {3'600'000, -3'600'000, 1000, 0}) {
    progress.time_unix_ms = UnixMs(now) + ahead_ms;
    const ProbeAnswer answer = ProbeAnswerOf(ProgressJson(progress), now);
    ASSERT_TRUE(answer.answered());
    const std::size_t more = ahead_ms / 1000 / 60 == 0 ? 0 : 1;
    ASSERT_EQ(answer.progress->troubles.size(), 1 + more) << ahead_ms;
    const std::string expected = more == 1 ? "its clock is 3600 s " : "the disk is full";
    EXPECT_THAT(answer.progress->troubles[0].what, HasSubstr(expected));
  }
  progress.time_unix_ms.reset();  // An older node does not say.
  EXPECT_EQ(ProbeAnswerOf(ProgressJson(progress), now).progress->troubles.size(), 1U);
}

}  // namespace
}  // namespace starling
