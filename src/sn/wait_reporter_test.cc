#include "sn/wait_reporter.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Snapshot Waits(Instant since) {
  Snapshot snapshot;
  snapshot.waiting.push_back({.contract = ContractName("t"),
                              .on = {NodeName("b"), NodeName("c")},
                              .what = "round 3 has its quorum",
                              .since = since,
                              .next = "closes without the rest"});
  return snapshot;
}
Moment After(Duration span) { return {Instant{} + span, FromUnixMs(0)}; }

TEST(WaitReporter, SaysWhomSinceWhenAndWhatIsNextOnceAWaitIsOld) {
  WaitReporter reporter;
  const Snapshot snapshot = Waits(Instant{});
  EXPECT_THAT(reporter.Due(snapshot, After(4999ms)), IsEmpty());
  const std::vector<std::string> lines = reporter.Due(snapshot, After(5s));
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_THAT(lines[0], HasSubstr("training t: round 3 has its quorum, waits for b, c, since "));
  EXPECT_THAT(lines[0], HasSubstr("; next: closes without the rest"));
}

TEST(WaitReporter, SaysItAgainEveryFiveSeconds) {
  WaitReporter reporter;
  const Snapshot snapshot = Waits(Instant{});
  EXPECT_THAT(reporter.Due(snapshot, After(6s)), SizeIs(1));
  EXPECT_THAT(reporter.Due(snapshot, After(10s)), IsEmpty());
  EXPECT_THAT(reporter.Due(snapshot, After(11s)), SizeIs(1));
}

TEST(WaitReporter, AFreshWaitIsGivenItsTime) {
  WaitReporter reporter;
  EXPECT_THAT(reporter.Due(Waits(Instant{}), After(5s)), SizeIs(1));
  EXPECT_THAT(reporter.Due(Waits(Instant{} + 9s), After(12s)), IsEmpty());
  EXPECT_THAT(reporter.Due(Snapshot{}, After(13s)), IsEmpty());
  EXPECT_THAT(reporter.Due(Waits(Instant{} + 9s), After(14s)), SizeIs(1));
}

TEST(WaitReporter, TheTroubleOfEachNodeAndOfTheSnIsALineOfItsOwn) {
  WaitReporter reporter;
  Snapshot snapshot = Waits(Instant{});
  for (const std::string name : {"b", "c"}) {
    snapshot.waiting.push_back({.contract = ContractName("t"),
                                .on = {NodeName(name)},
                                .what = name + ": its port is closed",
                                .since = Instant{},
                                .next = "open it",
                                .trouble = true});
  }
  const std::vector<Waiting> own = {
      {.what = "the ledger: locked", .since = Instant{}, .next = "end it", .trouble = true}};
  const std::vector<std::string> lines = reporter.Due(snapshot, After(5s), own);
  ASSERT_THAT(lines, SizeIs(4));
  EXPECT_THAT(lines[0], HasSubstr("the ledger: locked, since "));
  EXPECT_THAT(lines[2], HasSubstr("training t: b: its port is closed, since "));
  EXPECT_THAT(lines[2], ::testing::EndsWith("; next: open it"));
  EXPECT_THAT(lines[3], HasSubstr("training t: c: "));
  EXPECT_THAT(reporter.Due(snapshot, After(9s), own), IsEmpty());
}

}  // namespace
}  // namespace starling
