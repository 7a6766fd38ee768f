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
  for (const Progress& progress : {Merging(), training, Progress{}}) {
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
                                                 {"training_on", true}}) {
    Json json = ProgressJson(Merging());
    json[member] = value;
    const ProbeAnswer answer = ProbeAnswerOf(json);
    EXPECT_FALSE(answer.answered()) << member;
    EXPECT_THAT(answer.why, HasSubstr(member));
  }
  EXPECT_TRUE(ProbeAnswerOf(ProgressJson(Merging())).answered());
}

TEST(ProgressTest, ATransportsErrorIsAFailedProbe) {
  const ProbeAnswer answer = ProbeAnswerOf(absl::UnavailableError("connection refused"));
  EXPECT_FALSE(answer.answered());
  EXPECT_EQ(answer.why, "connection refused");
}

}  // namespace
}  // namespace starling
