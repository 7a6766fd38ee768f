#include "base/starting.h"

#include "gtest/gtest.h"

namespace starling {
namespace {

TEST(Starting, WhoIsNotThereYetInTheFirstMinuteIsStillStarting) {
  const Status refused = WithCode(absl::UnavailableError("refused"), "connection-refused");
  EXPECT_TRUE(IsStillStarting(refused, Duration::zero()));
  EXPECT_TRUE(IsStillStarting(absl::DeadlineExceededError("slow"), kStartTogether - 1ms));
  EXPECT_FALSE(IsStillStarting(refused, kStartTogether));
  EXPECT_FALSE(IsStillStarting(absl::UnauthenticatedError("expired"), Duration::zero()));
}

}  // namespace
}  // namespace starling
