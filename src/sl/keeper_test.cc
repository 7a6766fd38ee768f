#include "sl/keeper.h"

#include "base/mailbox.h"
#include "gtest/gtest.h"
#include "sl/sl_testing.h"

namespace starling {
namespace {

class KeeperTest : public ::testing::Test {
 protected:
  KeeperTest() : store_(*BlobStore::Open(scratch_.path(), 10)) {}
  static KeepJob JobOf(std::uint64_t round, std::string_view text, bool update = false) {
    auto blob = std::make_shared<const Bytes>(AsBytes(text).begin(), AsBytes(text).end());
    auto leaves = std::make_shared<LeafList>(LeavesOf(*blob));
    return {update, RoundId{round}, RootOfLeaves(*leaves), Slice{*blob, blob}, leaves, false};
  }

  const ScratchDirectory scratch_;
  const std::unique_ptr<BlobStore> store_;
};

TEST_F(KeeperTest, WritesInOrderAndReportsEach) {
  Mailbox<RoundId> kept;
  Keeper keeper(*store_, [&](const KeepJob& job, const Status& status) {
    EXPECT_TRUE(status.ok()) << status;
    kept.Push(job.round);
  });

  keeper.Add(JobOf(0, "first"));
  keeper.Add(JobOf(1, "an update", true));
  const std::uint64_t last = keeper.Add(JobOf(2, "second"));

  EXPECT_TRUE(keeper.WaitFor(last, {}));
  EXPECT_EQ(store_->Models().size(), 2U);
  for (std::uint64_t round = 0; round < 3; ++round) EXPECT_EQ(kept.Pop({}, 60s), RoundId{round});
}

TEST_F(KeeperTest, NothingToWriteIsWrittenAlready) {
  Keeper keeper(*store_, [](const KeepJob&, const Status&) {});

  EXPECT_TRUE(keeper.WaitForAll({}));
}

TEST_F(KeeperTest, WhatIsQueuedIsWrittenBeforeItEnds) {
  const KeepJob job = JobOf(7, "the last one");
  {
    Keeper keeper(*store_, [](const KeepJob&, const Status&) {});
    keeper.Add(job);
  }

  EXPECT_TRUE(store_->FindModel(job.root));
}

TEST_F(KeeperTest, ADiskThatRefusesIsReported) {
  Mailbox<Status> told;
  Keeper keeper(*store_, [&](const KeepJob&, const Status& status) { told.Push(status); });
  std::filesystem::remove_all(scratch_.path() + "/models");

  keeper.Add(JobOf(0, "nowhere to go"));

  EXPECT_FALSE(told.Pop({}, 60s).value_or(absl::OkStatus()).ok());
}

}  // namespace
}  // namespace starling
