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
    return {update, RoundId{round}, RootOfLeaves(*leaves), Slice{*blob, blob}, leaves};
  }

  // A disk that refuses every model (or update), until it does not.
  void BreakModels() const { std::filesystem::remove_all(scratch_.path() + "/models"); }
  void BreakUpdates() const { std::filesystem::remove_all(scratch_.path() + "/updates"); }
  void MendModels() const { std::filesystem::create_directory(scratch_.path() + "/models"); }

  const ScratchDirectory scratch_;
  const std::unique_ptr<BlobStore> store_;
};

TEST_F(KeeperTest, WritesInOrderAndReportsEach) {
  Mailbox<RoundId> kept;
  Keeper keeper({.retry = 1ms}, *store_, [&](const KeepJob& job, const Status& status) {
    EXPECT_TRUE(status.ok()) << status;
    kept.Push(job.round);
  });

  keeper.Add(JobOf(0, "first"));
  keeper.Add(JobOf(1, "an update", true));
  keeper.Add(JobOf(2, "second"));

  EXPECT_TRUE(keeper.WaitForModels({}));
  EXPECT_EQ(store_->Models().size(), 2U);
  for (std::uint64_t round = 0; round < 3; ++round) EXPECT_EQ(kept.Pop({}, 60s), RoundId{round});
}

TEST_F(KeeperTest, NothingToWriteIsWrittenAlready) {
  Keeper keeper({.retry = 1ms}, *store_, [](const KeepJob&, const Status&) {});

  EXPECT_TRUE(keeper.WaitForModels({}));
}

TEST_F(KeeperTest, WhatIsQueuedIsWrittenBeforeItEnds) {
  const KeepJob job = JobOf(7, "the last one");
  {
    Keeper keeper({.retry = 1ms}, *store_, [](const KeepJob&, const Status&) {});
    keeper.Add(job);
  }

  EXPECT_TRUE(store_->FindModel(job.root));
}

TEST_F(KeeperTest, WhatTheDiskRefusesIsReportedAndTriedUntilItIsWritten) {
  Mailbox<Status> told;
  Keeper keeper({.retry = 1ms}, *store_,
                [&](const KeepJob&, const Status& status) { told.Push(status); });
  BreakModels();
  const KeepJob job = JobOf(0, "nowhere to go");

  keeper.Add(job);
  EXPECT_FALSE(told.Pop({}, 60s).value_or(absl::OkStatus()).ok());
  MendModels();

  EXPECT_TRUE(keeper.WaitForModels({}));
  EXPECT_TRUE(store_->FindModel(job.root));
}

TEST_F(KeeperTest, WhatIsReleasedIsWrittenAsLongAsTheDiskWorks) {
  Keeper keeper({.retry = 1ms}, *store_, [](const KeepJob&, const Status&) {});
  const KeepJob update = JobOf(1, "an update", true);

  keeper.Release(keeper.Add(update));

  EXPECT_TRUE(store_->OpenUpdate(update.root).ok());
}

TEST_F(KeeperTest, WhatIsReleasedAfterTheDiskHasRefusedItIsGivenUp) {
  Mailbox<Status> told;
  Keeper keeper({.retry = 3600s}, *store_,
                [&](const KeepJob&, const Status& status) { told.Push(status); });
  BreakModels();
  BreakUpdates();
  const std::uint64_t model = keeper.Add(JobOf(0, "refused"));
  const KeepJob update = JobOf(1, "an update", true);

  keeper.Release(keeper.Add(update));
  keeper.Release(model);

  EXPECT_FALSE(told.Pop({}, 60s).value_or(absl::OkStatus()).ok());
  EXPECT_TRUE(keeper.WaitForModels({}));
  EXPECT_FALSE(store_->OpenUpdate(update.root).ok());
}

TEST_F(KeeperTest, AnUpdateThatTheDiskRefusesKeepsNoModelWaiting) {
  Keeper keeper({.retry = 3600s}, *store_, [](const KeepJob&, const Status&) {});
  BreakUpdates();
  keeper.Add(JobOf(0, "an update", true));
  const KeepJob model = JobOf(0, "a model");

  keeper.Add(model);

  EXPECT_TRUE(keeper.WaitForModels({}));
  EXPECT_TRUE(store_->FindModel(model.root));
}

TEST_F(KeeperTest, AnEndDoesNotWaitForADiskThatRefuses) {
  BreakModels();
  Keeper keeper({.retry = 3600s}, *store_, [](const KeepJob&, const Status&) {});

  keeper.Add(JobOf(0, "nowhere to go"));
}

}  // namespace
}  // namespace starling
