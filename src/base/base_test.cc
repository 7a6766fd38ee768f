// Results, time, chance, strong ids, mailboxes.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/mailbox.h"
#include "base/owned.h"
#include "base/random.h"
#include "base/result.h"
#include "base/strong.h"

namespace starling {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return value / 2;
}
Result<int> Quarter(int value) {
  ASSIGN_OR_RETURN(const int half, Half(value));
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}
Status IsQuarterable(int value) {
  RETURN_IF_ERROR(Quarter(value).status());
  return absl::OkStatus();
}

TEST(Status, MacrosPassTheFirstErrorOn) {
  EXPECT_EQ(Quarter(8).value(), 2);
  EXPECT_EQ(Quarter(6).status().message(), "odd");
  EXPECT_TRUE(IsQuarterable(4).ok());
  EXPECT_EQ(IsQuarterable(1).code(), absl::StatusCode::kInvalidArgument);
}

TEST(Status, AContextKeepsCodeAndPayloads) {
  const Status inner = WithNext(WithCode(absl::NotFoundError("key.pem"), "no-key"), "make one");
  const Status outer = Annotate(inner, "identity");
  EXPECT_EQ(outer.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(outer.message(), "identity: key.pem");
  EXPECT_EQ(StableCode(outer), "no-key");
  EXPECT_EQ(NextStep(outer), "make one");
}

TEST(Status, OkStaysOk) {
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
  EXPECT_TRUE(WithCode(WithNext(absl::OkStatus(), "x"), "y").ok());
}

TEST(Status, WithoutACodeOfItsOwnItNamesTheKind) {
  EXPECT_EQ(StableCode(absl::FailedPreconditionError("x")), "failed-precondition");
  EXPECT_EQ(NextStep(absl::FailedPreconditionError("x")), "");
}

TEST(Status, AnErrorIsOneLineOfFourParts) {
  const Status status =
      WithNext(WithCode(absl::InvalidArgumentError("tensor \"a\nb\" differs"), "schema-differs"),
               "train from the same program");
  EXPECT_EQ(ErrorLine(status, "starling sl"),
            "starling sl: schema-differs: tensor \"a\\x0ab\" differs. "
            "Next: train from the same program");
  EXPECT_EQ(ErrorLine(absl::NotFoundError("x"), "c"), "c: not-found: x");
}

TEST(Clock, AManualOneMovesBothTimesTogether) {
  ManualClock clock(FromUnixMs(1000));
  const Instant start = clock.Now();
  clock.Advance(600us);
  clock.Advance(600us);
  EXPECT_EQ(clock.Now() - start, 1200us);
  EXPECT_EQ(UnixMs(clock.UtcNow()), 1001);
  clock.AdvanceTo(start + 2s);
  EXPECT_EQ(UnixMs(clock.UtcNow()), 3000);
}

TEST(Clock, SettingTheWallClockLeavesTheMonotonicOne) {
  ManualClock clock;
  const Instant before = clock.Now();
  clock.SetUtc(FromUnixMs(5));
  EXPECT_EQ(clock.Now(), before);
  EXPECT_EQ(UnixMs(clock.UtcNow()), 5);
}

TEST(ClockDeathTest, TimeDoesNotRunBackwards) {
  ManualClock clock;
  const Instant before = clock.Now();
  clock.Advance(1s);
  EXPECT_DEATH(clock.AdvanceTo(before), "CHECK failed");
}

TEST(Clock, TheRealOneDoesNotRunBackwardsAndKnowsTheCentury) {
  const RealClock clock;
  const Instant first = clock.Now();
  EXPECT_GE(clock.Now(), first);
  EXPECT_GT(UnixMs(clock.UtcNow()), 1'700'000'000'000);
}

TEST(Clock, KindsOfTimeDoNotConvert) {
  static_assert(!std::is_convertible_v<Instant, UtcTime>);
  static_assert(!std::is_convertible_v<UtcTime, Instant>);
  static_assert(!std::is_convertible_v<std::chrono::steady_clock::time_point, Instant>);
}

TEST(Clock, FormatsUtcWithMilliseconds) {
  EXPECT_EQ(FormatUtc(FromUnixMs(0)), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(FormatUtc(FromUnixMs(1'709'210'096'789)), "2024-02-29T12:34:56.789Z");
  EXPECT_EQ(FormatUtc(FromUnixMs(-1)), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(FormatLocalTime(FromUnixMs(1'709'210'096'789)).substr(5), ":56");
  EXPECT_EQ(Millis(1999us), 1);
}

TEST(Random, ASeedMeansTheSameOnEveryBuild) {
  SeededRandom zero(0);
  EXPECT_EQ(zero.Next(), 0xe220a8397b1dcdafU);
  EXPECT_EQ(zero.Next(), 0x6e789e6aa1b965f4U);
  SeededRandom other(1234567);
  EXPECT_EQ(other.Next(), 6457827717110365317U);
  EXPECT_EQ(other.Next(), 3203168211198807973U);
}

class Scripted final : public Random {
 public:
  explicit Scripted(std::vector<std::uint64_t> values) : values_(std::move(values)) {}
  std::uint64_t Next() override { return values_.at(next_++); }

 private:
  std::vector<std::uint64_t> values_;
  std::size_t next_ = 0;
};

TEST(Random, ValuesThatWouldFavourSmallNumbersAreDrawnAgain) {
  Scripted random({UINT64_MAX, UINT64_MAX - 1, 7});
  EXPECT_EQ(random.Below(10), 7U);
  Scripted exact({UINT64_MAX - 1, 4});
  EXPECT_EQ(exact.Below(3), 2U);  // 2^64 − 1 is a multiple of 3: nothing is in excess below it.
}

TEST(Random, StaysBelowItsBoundAndReachesAll) {
  SeededRandom random(1);
  std::array<int, 5> seen{};
  for (int i = 0; i < 1000; ++i) ++seen.at(random.Below(5));
  for (const int count : seen) EXPECT_GT(count, 100);
  EXPECT_EQ(random.Below(1), 0U);
  EXPECT_FALSE(random.Chance(0));
  EXPECT_TRUE(random.Chance(1'000'000));
}

TEST(Random, FillsEveryByte) {
  Scripted random({0x1111111111111111U, 0x2222222222222222U});
  std::array<std::byte, 11> out{};
  random.Fill(out);
  EXPECT_EQ(HexEncode(out), "1111111111111111222222");
}

TEST(Random, TheSystemsOneDiffersFromCallToCall) {
  SystemRandom random;
  EXPECT_NE(random.Next(), random.Next());
}

using Apples = Strong<struct ApplesTag, int>;
using Pears = Strong<struct PearsTag, int>;
static_assert(!std::is_convertible_v<int, Apples>);
static_assert(!std::is_convertible_v<Apples, Pears>);
static_assert(!std::is_constructible_v<Apples, Pears>);

TEST(StrongIds, CompareByTheirValue) {
  EXPECT_LT(Apples{1}, Apples{2});
  EXPECT_EQ(Apples{1}, Apples{1});
  EXPECT_EQ(Apples{}.value(), 0);
}

TEST(ABell, RungTwiceBeforeAWaitIsHeardOnceAndHoldsNobodyUp) {
  Bell bell;
  bell.Ring();
  bell.Ring();
  EXPECT_TRUE(bell.Wait({}, 3600s));
  EXPECT_FALSE(bell.Wait({}, Duration::zero()));
}

TEST(ABell, WakesTheOneThatWaits) {
  Bell bell;
  const std::jthread ringer([&bell] { bell.Ring(); });
  EXPECT_TRUE(bell.Wait({}, 3600s));
}

TEST(ABell, AStopEndsTheWait) {
  Bell bell;
  std::stop_source stop;
  const std::jthread stopper([&stop] { stop.request_stop(); });
  EXPECT_FALSE(bell.Wait(stop.get_token(), 3600s));
}

TEST(MailboxOfOne, KeepsTheOrder) {
  Mailbox<int> box;
  EXPECT_TRUE(box.Push(1));
  EXPECT_TRUE(box.Push(2));
  EXPECT_EQ(box.Pop({}, 0ns), 1);
  EXPECT_EQ(box.Pop({}, 0ns), 2);
  EXPECT_EQ(box.Pop({}, 0ns), std::nullopt);
}

TEST(MailboxOfOne, AFullOneHoldsTheSenderBackAndLosesNothing) {
  Mailbox<int> box(1);
  std::vector<int> got;
  {
    const std::jthread sender([&] {
      for (int i = 0; i < 100; ++i) box.Push(i);
    });
    while (got.size() < 100) {
      if (const auto message = box.Pop({}, 10s)) got.push_back(*message);
    }
  }
  for (int i = 0; i < 100; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], i);
}

TEST(MailboxOfOne, AStopEndsAPushThatWaitsForRoom) {
  Mailbox<int> box(1);
  box.Push(1);
  bool pushed = true;
  {
    const std::jthread sender([&](const std::stop_token& stop) { pushed = box.Push(2, stop); });
  }  // stopped and joined
  EXPECT_FALSE(pushed);
  EXPECT_EQ(box.Pop({}, 0ns), 1);
  EXPECT_EQ(box.Pop({}, 0ns), std::nullopt);
}

TEST(MailboxOfOne, AStopEndsAPopButWhatIsThereIsStillDelivered) {
  Mailbox<int> box;
  std::stop_source stop;
  box.Push(1);
  stop.request_stop();
  EXPECT_EQ(box.Pop(stop.get_token(), 1h), 1);
  EXPECT_EQ(box.Pop(stop.get_token(), 1h), std::nullopt);
}

TEST(GuardedValue, ManyThreadsSeeEveryChange) {
  Guarded<int> counter(0);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 1000; ++k) counter.With([](int& value) { ++value; });
      });
    }
  }
  const Guarded<int>& reader = counter;
  EXPECT_EQ(reader.With([](const int& value) { return value; }), 4000);
}

int freed = 0;
int FreeInt(int* value) {
  delete value;
  return ++freed;
}

TEST(OwnedHandle, IsFreedOnce) {
  freed = 0;
  {
    Owned<int, &FreeInt> one(new int(1));
    const Owned<int, &FreeInt> moved = std::move(one);
  }
  EXPECT_EQ(freed, 1);
}

}  // namespace
}  // namespace starling
