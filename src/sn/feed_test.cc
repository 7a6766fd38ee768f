#include "sn/feed.h"

#include <thread>

#include "gtest/gtest.h"
#include "sn/sn_testing.h"

namespace starling {
namespace {

std::shared_ptr<const Snapshot> SnapshotAt(std::int64_t position) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->end = Place{Position(position), TestDigest(std::to_string(position))};
  return snapshot;
}
EntryNote NoteOf(std::int64_t position) { return {TestDigest(std::to_string(position)), "a", ""}; }

TEST(Feed, KnowsHeadsUpToItsEnd) {
  Feed feed;
  EXPECT_EQ(feed.HeadAt(Position(-1)), Digest{});
  EXPECT_EQ(feed.HeadAt(Position(0)), std::nullopt);
  feed.Publish(SnapshotAt(0), {NoteOf(0)});
  EXPECT_EQ(feed.HeadAt(Position(0)), TestDigest("0"));
  EXPECT_EQ(feed.HeadAt(Position(1)), std::nullopt);
  EXPECT_EQ(feed.HeadAt(Position(-2)), std::nullopt);
}

TEST(Feed, AnswersNotesWithinItsBounds) {
  Feed feed;
  feed.Publish(SnapshotAt(2), {NoteOf(0), NoteOf(1), NoteOf(2)});
  EXPECT_EQ(feed.Notes(Position(1), 10).size(), 2U);
  EXPECT_EQ(feed.Notes(Position(0), 1).size(), 1U);
  EXPECT_TRUE(feed.Notes(Position(3), 1).empty());
}

TEST(Feed, WakesWhoWaitsForAnEntry) {
  Feed feed;
  bool woken = false;
  {
    const std::jthread waiter([&] { woken = feed.WaitFor(Position(0), 60s, {}); });
    feed.Publish(SnapshotAt(0), {NoteOf(0)});
  }
  EXPECT_TRUE(woken);
}

TEST(Feed, AStopEndsAWait) {
  Feed feed;
  bool there = true;
  {
    std::jthread waiter(
        [&](const std::stop_token& stop) { there = feed.WaitFor(Position(0), 600s, stop); });
    waiter.request_stop();
  }
  EXPECT_FALSE(there);
}

}  // namespace
}  // namespace starling
