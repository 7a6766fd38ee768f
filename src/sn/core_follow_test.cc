// Copies of one log: a sentinel's core and a follower's, without a network.
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sn/admission.h"
#include "sn/core.h"
#include "sn/sn_testing.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

// One SN's core over a ledger in memory.
struct Site {
  Site(const Clock& clock, std::uint64_t seed, bool orders, Status hold = {})
      : key(TestKey(seed)), ledger(MakeMemoryLedger(clock)) {
    core = SnCore::Open(
               {.decider = {}, .auto_create = true, .orders = orders, .hold = std::move(hold)},
               {*ledger, clock, key, feed, Log(), {}, {}})
               .value();
  }
  [[nodiscard]] Place End() const { return feed.Current()->end; }
  [[nodiscard]] std::vector<LedgerRecord> Records(std::int64_t from = 0) const {
    return ledger->Read(from, {}).value();
  }
  SigningKey key;
  std::unique_ptr<Ledger> ledger;
  Feed feed;
  std::unique_ptr<SnCore> core;
};

class CoreFollowTest : public ::testing::Test {
 protected:
  CoreFollowTest() {
    EXPECT_TRUE(sentinel_.core->CreateLedger(NodeName("sn"), "https://localhost:1").ok());
  }
  void Enrol(Site& site, TestNode& node) {
    Result<Place> place = site.core->Enrol(node.contract(), node.Claim(site.End()), peer_);
    if (StableCode(place.status()) == "seen-too-old")
      place = site.core->Enrol(node.contract(), node.Claim(site.End()), peer_);
    ASSERT_TRUE(place.ok()) << place.status();
  }
  static std::string ClaimOf(const SigningKey& key, const std::string& name, const Place& seen,
                             std::uint64_t seq = 1) {
    return SignSnClaim(key,
                       {.name = NodeName(name), .key = key.public_key(), .api_url = "https://f:1"},
                       seq, seen);
  }
  static std::string CodeOf(const Result<Place>& place) { return StableCode(place.status()); }

  ManualClock clock_;
  Site sentinel_{clock_, 1, true};
  Site follower_{clock_, 50, false};
  TestNode a_{"a", 2}, b_{"b", 3};
  SpiffeId peer_ = SpiffeId::Parse("spiffe://test/swarm/sl").value();
};

TEST_F(CoreFollowTest, ACopyHasTheSameStateTimesAndVerdicts) {
  Enrol(sentinel_, a_);
  clock_.Advance(5s);
  ASSERT_TRUE(
      sentinel_.core->Append(std::vector<std::string>{a_.CheckIn(sentinel_.End(), 7)}).ok());
  const std::vector<LedgerRecord> records = sentinel_.Records();
  clock_.Advance(5s);

  ASSERT_TRUE(follower_.core->Take(std::span(records).first(2), Trust::kOrdered).ok());
  ASSERT_TRUE(follower_.core->Take(records, Trust::kOrdered).ok());  // with what is there already

  EXPECT_EQ(follower_.End(), sentinel_.End());
  EXPECT_EQ(follower_.Records()[3].time_unix_ms, records[3].time_unix_ms);
  EXPECT_EQ(follower_.feed.Notes(Position(3), 1)[0].reason,
            sentinel_.feed.Notes(Position(3), 1)[0].reason);
  EXPECT_FALSE(follower_.feed.Notes(Position(3), 1)[0].reason.empty());
}

TEST_F(CoreFollowTest, AFollowerSaysNothingItself) {
  ASSERT_TRUE(follower_.core->Take(sentinel_.Records(), Trust::kOrdered).ok());
  EXPECT_EQ(CodeOf(follower_.core->Enrol(a_.contract(), a_.Claim(follower_.End()), peer_)),
            "follower");
  EXPECT_EQ(StableCode(follower_.core->Append(std::vector<std::string>{"x"}).status()), "follower");
  EXPECT_EQ(CodeOf(follower_.core->Join("x")), "bad-claim");
  clock_.Advance(10min);
  follower_.core->OnTime();
  EXPECT_EQ(follower_.End(), sentinel_.End());
}

TEST_F(CoreFollowTest, AnotherHeadAtTheSamePlaceIsASplitThatNamesBoth) {
  Site other(clock_, 70, true);
  ASSERT_TRUE(other.core->CreateLedger(NodeName("x"), "https://localhost:2").ok());
  ASSERT_TRUE(follower_.core->Take(sentinel_.Records(), Trust::kOrdered).ok());

  const Result<Place> taken = follower_.core->Take(other.Records(), Trust::kOrdered);

  EXPECT_EQ(CodeOf(taken), "split-ledger");
  EXPECT_THAT(std::string(taken.status().message()), HasSubstr("at position 0"));
  EXPECT_THAT(std::string(taken.status().message()), HasSubstr(ShortText(other.End().head)));
  EXPECT_THAT(std::string(taken.status().message()), HasSubstr(ShortText(sentinel_.End().head)));
}

TEST_F(CoreFollowTest, WhatDoesNotFollowIsNotTaken) {
  Enrol(sentinel_, a_);
  std::vector<LedgerRecord> records = sentinel_.Records();
  EXPECT_EQ(CodeOf(follower_.core->Take(std::span(records).subspan(1), Trust::kOrdered)),
            "does-not-follow");
  records[1].entry += "x";
  EXPECT_EQ(CodeOf(follower_.core->Take(records, Trust::kOrdered)), "does-not-follow");
  EXPECT_EQ(follower_.End().position.value(), -1);
}

TEST_F(CoreFollowTest, AnSnJoinsOnceAndMayAskAgain) {
  ASSERT_TRUE(sentinel_.core->Join(ClaimOf(follower_.key, "f", Place{})).ok());
  const Place end = sentinel_.End();
  EXPECT_EQ(end.position.value(), 1);
  EXPECT_TRUE(sentinel_.core->Join(ClaimOf(follower_.key, "f", end)).ok());
  EXPECT_EQ(CodeOf(sentinel_.core->Join(ClaimOf(follower_.key, "g", end, 2))), "refused");
  EXPECT_EQ(CodeOf(sentinel_.core->Join(ClaimOf(TestKey(60), "f", end))), "name-taken");
  EXPECT_EQ(CodeOf(sentinel_.core->Join(ClaimOf(TestKey(60), "sn", end))), "name-taken");
  EXPECT_EQ(
      CodeOf(sentinel_.core->Join(ClaimOf(TestKey(60), "g", {Position(1), TestDigest("another")}))),
      "split-ledger");
  EXPECT_EQ(CodeOf(sentinel_.core->Join(ClaimOf(TestKey(60), "g", {Position(9), end.head}))),
            "seen-ahead");
  EXPECT_EQ(CodeOf(sentinel_.core->Join("no claim")), "bad-claim");
  EXPECT_EQ(sentinel_.End(), end);
  ASSERT_TRUE(follower_.core->Take(sentinel_.Records(), Trust::kOrdered).ok());
  EXPECT_EQ(StableCode(follower_.core->CheckFounder()), "not-the-sentinel");
  EXPECT_TRUE(sentinel_.core->CheckFounder().ok());
}

TEST_F(CoreFollowTest, AHeldCoreSaysNothingUntilItIsReleased) {
  Enrol(sentinel_, a_);
  Enrol(sentinel_, b_);
  const Place end = sentinel_.End();
  const auto held = WithCode(absl::UnavailableError("not now"), "catching-up");
  Site restarted(clock_, 1, true, held);
  ASSERT_TRUE(restarted.core->Take(sentinel_.Records(), Trust::kSigned).ok());
  EXPECT_EQ(StableCode(restarted.core->health()), "catching-up");

  const std::vector<std::string> entry = {a_.CheckIn(end, 0)};
  EXPECT_EQ(StableCode(restarted.core->Append(entry).status()), "catching-up");
  restarted.core->OnTime();
  EXPECT_EQ(restarted.End(), end);
  EXPECT_EQ(restarted.feed.Current()->waiting.at(0).what, "not now");

  restarted.core->Release();
  EXPECT_TRUE(restarted.core->health().ok());
  EXPECT_TRUE(restarted.core->Append(entry).ok());
}

TEST_F(CoreFollowTest, AHaltIsForGood) {
  Enrol(sentinel_, a_);
  sentinel_.core->Halt(SplitLedger(sentinel_.End(), TestDigest("ours")));
  sentinel_.core->Release();
  sentinel_.core->Hold(absl::OkStatus());
  const std::vector<std::string> entry = {a_.CheckIn(sentinel_.End(), 0)};
  EXPECT_EQ(StableCode(sentinel_.core->Append(entry).status()), "split-ledger");
  EXPECT_EQ(StableCode(sentinel_.core->health()), "split-ledger");
}

// Anybody may show entries to a restored sentinel; only what could be of its log is taken.
TEST_F(CoreFollowTest, WhatIsNotSignedByWhoMaySpeakIsNotTakenBack) {
  Enrol(sentinel_, a_);
  Site restored(clock_, 1, true);
  ASSERT_TRUE(restored.core->Take(sentinel_.Records(), Trust::kSigned).ok());
  const Place end = restored.End();
  const auto shown = [&](const std::string& entry) {
    return std::vector<LedgerRecord>{
        {end.position.value() + 1, UnixMs(clock_.UtcNow()), NextHead(end.head, entry), entry}};
  };
  TestNode stranger("c", 13);
  for (const std::string& entry : {std::string("nonsense"), stranger.CheckIn(end, 0),
                                   a_.CheckIn({end.position, TestDigest("other")}, 0)}) {
    EXPECT_EQ(CodeOf(restored.core->Take(shown(entry), Trust::kSigned)), "bad-entry") << entry;
    EXPECT_EQ(restored.End(), end);
  }
  // A void body is part of a log like any other entry.
  EXPECT_TRUE(restored.core->Take(shown(a_.CheckIn(end, 7)), Trust::kSigned).ok());
}

TEST_F(CoreFollowTest, AwaySentinelsAreWhatEveryTrainingWaitsFor) {
  Enrol(sentinel_, a_);
  ASSERT_TRUE(follower_.core->Take(sentinel_.Records(), Trust::kOrdered).ok());
  EXPECT_THAT(follower_.feed.Current()->waiting.at(0).what, HasSubstr("round 0"));
  follower_.core->SetUpstreamWait(UpstreamWait{"the sentinel is away", clock_.Now(), "look"});
  EXPECT_EQ(follower_.feed.Current()->waiting.at(0).what, "the sentinel is away");
  follower_.core->SetUpstreamWait(std::nullopt);
  EXPECT_THAT(follower_.feed.Current()->waiting.at(0).what, HasSubstr("round 0"));
}

}  // namespace
}  // namespace starling
