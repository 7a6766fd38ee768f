#include "sl/board.h"

#include <future>

#include "gtest/gtest.h"

namespace starling {
namespace {

const RunKey kRun{Position{4}, RoundId{2}, HashOf(AsBytes("set")), 0};

std::shared_ptr<const Contract> ContractOf(std::uint64_t round) {
  auto contract = std::make_shared<Contract>();
  contract->round = RoundId{round};
  return contract;
}

TEST(Board, ARunIsKnownFromItsBeginAndForgottenWithTheNextMerge) {
  Board board;
  EXPECT_FALSE(board.WaitForBegin(kRun, Duration::zero(), {}));

  board.Begin(kRun, {0, 3});
  EXPECT_EQ(board.WaitForBegin(kRun, Duration::zero(), {})->done, 0U);

  board.ForgetRuns();
  EXPECT_FALSE(board.WaitForBegin(kRun, Duration::zero(), {}));
}

TEST(Board, WakesWhoWaitsForAChunk) {
  Board board;
  board.Begin(kRun, {0, 3});
  auto waiter = std::async(std::launch::async, [&] { return board.WaitForRun(kRun, 1, 60s, {}); });

  board.Advance(kRun, 1);
  board.Advance(kRun, 2);

  EXPECT_EQ(waiter.get()->done, 2U);
}

TEST(Board, AFailedRunEndsTheWaitForItsLeaves) {
  Board board;
  board.Begin(kRun, {0, 3});
  board.Fail(kRun);

  const auto run = board.WaitForLeaves(kRun, 60s, {});

  ASSERT_TRUE(run);
  EXPECT_TRUE(run->failed);
  EXPECT_EQ(run->leaves, nullptr);
}

TEST(Board, AStopEndsEveryWait) {
  Board board;
  std::stop_source stop;
  stop.request_stop();

  EXPECT_FALSE(board.WaitForLeaves(kRun, 60s, stop.get_token()));
  EXPECT_FALSE(board.WaitForRun(kRun, 0, 60s, stop.get_token()));
  EXPECT_FALSE(board.WaitUntil([] { return false; }, 60s, stop.get_token()));
}

TEST(Board, AnUpdateIsOfferedUntilItIsTakenBack) {
  Board board;
  const Digest root = HashOf(AsBytes("update"));
  board.Offer(OfferedUpdate{root, {}, nullptr});

  EXPECT_TRUE(board.Offered(root));
  EXPECT_FALSE(board.Offered(HashOf(AsBytes("another"))));
  board.Offer(std::nullopt);
  EXPECT_FALSE(board.Offered(root));
}

TEST(Board, TellsOfANewerContract) {
  Board board;
  const auto first = ContractOf(1);
  board.SetContract(first);
  EXPECT_EQ(board.WaitForOtherContract(first, Duration::zero(), {}), first);
  auto waiter =
      std::async(std::launch::async, [&] { return board.WaitForOtherContract(first, 60s, {}); });

  board.SetContract(ContractOf(2));

  EXPECT_EQ(waiter.get()->round, RoundId{2});
}

}  // namespace
}  // namespace starling
