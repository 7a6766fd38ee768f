#include "sl/blob_store.h"

#include <unistd.h>

#include <filesystem>

#include "base/text.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

class BlobStoreTest : public testing::Test {
 protected:
  BlobStoreTest() : directory_(StrCat(testing::TempDir(), "starling_store_", getpid())) {
    std::filesystem::remove_all(directory_);
  }
  static Bytes Blob(std::uint64_t round) { return Bytes(3000, static_cast<std::byte>(round)); }
  Digest Keep(BlobStore& store, std::uint64_t round) const {
    const LeafList leaves = LeavesOf(Blob(round));
    EXPECT_TRUE(
        store.KeepModel(RoundId{round}, RootOfLeaves(leaves), Blob(round), leaves, false).ok());
    return RootOfLeaves(leaves);
  }
  const std::string directory_;
};

TEST_F(BlobStoreTest, KeepsTheNewestAndThePinned) {
  const std::unique_ptr<BlobStore> store = *BlobStore::Open(directory_, 2);
  const Digest first = RootOf(Blob(0));
  store->Pin(first);
  for (std::uint64_t round = 0; round < 5; ++round) Keep(*store, round);
  std::vector<std::uint64_t> rounds;
  for (const BlobStore::Kept& kept : store->Models()) rounds.push_back(kept.round.value());
  EXPECT_EQ(rounds, (std::vector<std::uint64_t>{0, 3, 4}));
}

// The attempts of one round may bring more models than are kept; votes say that they are here.
TEST_F(BlobStoreTest, KeepsWhatIsNeededForAsLongAsItIs) {
  const std::unique_ptr<BlobStore> store = *BlobStore::Open(directory_, 2);
  const Digest base = RootOf(Blob(0)), first_attempt = RootOf(Blob(1));
  store->Need({base, first_attempt});
  for (std::uint64_t round = 0; round < 5; ++round) Keep(*store, round);
  EXPECT_TRUE(store->FindModel(base));
  EXPECT_TRUE(store->FindModel(first_attempt));
  EXPECT_EQ(store->Models().size(), 4U);

  store->Need({});
  Keep(*store, 5);

  EXPECT_FALSE(store->FindModel(base));
  EXPECT_EQ(store->Models().size(), 2U);
}

TEST_F(BlobStoreTest, TheRoundsOfANewTrainingAreNewerThanThoseOfTheOneBefore) {
  const Digest old = Keep(**BlobStore::Open(directory_, 2), 90);
  const std::unique_ptr<BlobStore> store = *BlobStore::Open(directory_, 2);
  for (std::uint64_t round = 0; round < 2; ++round) Keep(*store, round);
  EXPECT_FALSE(store->FindModel(old));
  EXPECT_TRUE(store->FindModel(RootOf(Blob(0))));
}

TEST_F(BlobStoreTest, ADroppedModelIsGoneUnlessItIsPinned) {
  const std::unique_ptr<BlobStore> store = *BlobStore::Open(directory_, 2);
  const Digest lost = Keep(*store, 0), pinned = Keep(*store, 1);
  store->Pin(pinned);
  store->DropModel(lost);
  store->DropModel(pinned);
  EXPECT_FALSE(store->FindModel(lost));
  EXPECT_TRUE(store->OpenModel(pinned).ok());
}

TEST_F(BlobStoreTest, FindsAfterARestartWhatWasKept) {
  const Digest root = Keep(**BlobStore::Open(directory_, 10), 7);
  const std::unique_ptr<BlobStore> again = *BlobStore::Open(directory_, 10);
  const Result<BlobStore::Blob> blob = again->OpenModel(root);
  ASSERT_TRUE(blob.ok()) << blob.status();
  EXPECT_EQ(AsText(blob->slice.bytes), AsText(Blob(7)));
  EXPECT_TRUE(absl::IsNotFound(again->OpenModel(HashOf({})).status()));
}

TEST_F(BlobStoreTest, AnOpenModelOutlivesItsFile) {
  const std::unique_ptr<BlobStore> store = *BlobStore::Open(directory_, 1);
  const Result<BlobStore::Blob> blob = store->OpenModel(Keep(*store, 1));
  Keep(*store, 2);
  EXPECT_EQ(AsText(blob->slice.bytes), AsText(Blob(1)));
}

}  // namespace
}  // namespace starling
