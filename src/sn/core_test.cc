#include "sn/core.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sn/sn_testing.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

// A ledger that counts appends and can fail the next one.
class WatchedLedger final : public Ledger {
 public:
  explicit WatchedLedger(const Clock& clock) : inner_(MakeMemoryLedger(clock)) {}
  Result<LedgerEnd> Append(std::span<const std::string> entries) override {
    if (std::exchange(fail_next, false)) return absl::ResourceExhaustedError("disk full");
    ++appends;
    return inner_->Append(entries);
  }
  Status Copy(std::span<const LedgerRecord> records) override {
    if (std::exchange(fail_next, false)) return absl::ResourceExhaustedError("disk full");
    return inner_->Copy(records);
  }
  Result<std::vector<LedgerRecord>> Read(std::int64_t from,
                                         const LedgerReadOptions& options) const override {
    return inner_->Read(from, options);
  }
  LedgerEnd End() const override { return inner_->End(); }
  LedgerEnd Final() const override { return inner_->Final(); }
  bool WaitFor(std::int64_t position, Duration span, const std::stop_token& stop) const override {
    return inner_->WaitFor(position, span, stop);
  }
  Status CheckWritable() override { return writable; }
  int appends = 0;
  bool fail_next = false;
  Status writable;

 private:
  std::unique_ptr<Ledger> inner_;
};

class CoreTest : public ::testing::Test {
 protected:
  CoreTest() { Open(); }
  void Open(bool auto_create = true) {
    core_.reset();
    feed_ = std::make_unique<Feed>();
    auto core = SnCore::Open({.decider = {}, .auto_create = auto_create},
                             {ledger_, clock_, key_, *feed_, Log(), {}});
    ASSERT_TRUE(core.ok()) << core.status();
    core_ = *std::move(core);
    if (ledger_.End().position < 0) {
      ASSERT_EQ(core_->CreateLedger(NodeName("sn"), "https://localhost:30304"), absl::OkStatus());
    }
  }
  // Enrols through the dance that an unknown training needs.
  void Enrol(TestNode& node, const Rules& rules = StatedRules()) {
    Result<Place> place = core_->Enrol(node.contract(), node.Claim(End(), rules), peer_);
    if (!place.ok() && StableCode(place.status()) == "seen-too-old") {
      place = core_->Enrol(node.contract(), node.Claim(End(), rules), peer_);
    }
    ASSERT_TRUE(place.ok()) << place.status();
  }
  Result<SnCore::Appended> Post(const std::string& entry) {
    return core_->Append(std::vector<std::string>{entry});
  }
  std::string CodeOf(const std::string& entry) { return StableCode(Post(entry).status()); }
  [[nodiscard]] Place End() const { return feed_->Current()->end; }
  [[nodiscard]] const Contract& Training() {
    snapshot_ = feed_->Current();
    return snapshot_->state.contracts.at(ContractName("t"));
  }
  // Both check in, both vote: round sealed with `root`.
  void PlayRound(std::uint64_t round, std::string_view root) {
    const std::optional<Digest> base = Training().base;
    ASSERT_TRUE(Post(a_.CheckIn(End(), round, base)).ok());
    ASSERT_TRUE(Post(b_.CheckIn(End(), round, base)).ok());
    Vote(round, root);
  }
  void Vote(std::uint64_t round, std::string_view root) {
    ASSERT_EQ(Training().phase, Phase::kMerging);
    const Digest set = Training().set;
    ASSERT_TRUE(Post(a_.Vote(End(), round, set, TestDigest(root))).ok());
    ASSERT_TRUE(Post(b_.Vote(End(), round, set, TestDigest(root))).ok());
  }

  ManualClock clock_;
  SigningKey key_ = TestKey(1);
  WatchedLedger ledger_{clock_};
  std::unique_ptr<Feed> feed_;
  std::unique_ptr<SnCore> core_;
  std::shared_ptr<const Snapshot> snapshot_;
  TestNode a_{"a", 2}, b_{"b", 3};
  SpiffeId peer_ = SpiffeId::Parse("spiffe://test/swarm/sl").value();
  SpiffeId boss_ = SpiffeId::Parse("spiffe://test/swarm/operator").value();
};

TEST_F(CoreTest, MakesEntryZeroOnce) {
  EXPECT_EQ(End().position.value(), 0);
  EXPECT_TRUE(feed_->Current()->state.sns.contains(NodeName("sn")));
  EXPECT_FALSE(core_->CreateLedger(NodeName("sn"), "https://localhost:1").ok());
}

TEST_F(CoreTest, RefusesALedgerOfAnotherKey) {
  EXPECT_TRUE(core_->CheckFounder().ok());
  Feed feed;
  const SigningKey other = TestKey(99);
  const auto core = SnCore::Open({}, {ledger_, clock_, other, feed, Log(), {}});
  ASSERT_TRUE(core.ok());
  EXPECT_EQ(StableCode((*core)->CheckFounder()), "wrong-ledger-key");
}

TEST_F(CoreTest, CreatesAnUnknownTrainingAndAsksForANewSignature) {
  const Result<Place> first = core_->Enrol(ContractName("t"), a_.Claim(End()), peer_);
  EXPECT_EQ(StableCode(first.status()), "seen-too-old");
  EXPECT_EQ(Training().instance, Position(1));
  EXPECT_FALSE(Training().rules.min_peers);
  ASSERT_TRUE(core_->Enrol(ContractName("t"), a_.Claim(End()), peer_).ok());
  EXPECT_EQ(Training().rules.min_peers, 2U);
  EXPECT_EQ(Training().nodes.at(NodeName("a")).spiffe_id, peer_.text());
}

TEST_F(CoreTest, WithoutAutoCreateAnUnknownTrainingIsRefused) {
  Open(false);
  const Result<Place> place = core_->Enrol(ContractName("t"), a_.Claim(End()), peer_);
  EXPECT_EQ(StableCode(place.status()), "no-such-training");
  EXPECT_EQ(End().position.value(), 0);
}

TEST_F(CoreTest, RefusesOtherRulesWithTheDifference) {
  Enrol(a_);
  Rules other = StatedRules();
  other.sync_interval = 11;
  const Place before = End();
  const Result<Place> place = core_->Enrol(ContractName("t"), b_.Claim(End(), other), peer_);
  EXPECT_EQ(StableCode(place.status()), "refused");
  EXPECT_THAT(std::string(place.status().message()), HasSubstr("sync_interval"));
  EXPECT_EQ(End(), before);
}

TEST_F(CoreTest, RefusesAClaimMadeForAnotherLedger) {
  Enrol(a_);
  const Place lie{Position(0), TestDigest("another ledger")};
  EXPECT_EQ(StableCode(core_->Enrol(ContractName("t"), b_.Claim(lie), peer_).status()),
            "split-ledger");
}

TEST_F(CoreTest, ClosesARoundInTheAppendThatCompletesIt) {
  Enrol(a_);
  Enrol(b_);
  ASSERT_TRUE(Post(a_.CheckIn(End(), 0)).ok());
  EXPECT_EQ(Training().phase, Phase::kCollecting);
  const int appends = ledger_.appends;
  const std::int64_t end = End().position.value();
  ASSERT_TRUE(Post(b_.CheckIn(End(), 0)).ok());
  EXPECT_EQ(Training().phase, Phase::kMerging);
  EXPECT_EQ(End().position.value(), end + 2);
  EXPECT_EQ(ledger_.appends, appends + 1);
}

TEST_F(CoreTest, SealsRoundsUntilTheTrainingIsOverAndStartsItAnew) {
  Enrol(a_);
  Enrol(b_);
  PlayRound(0, "m0");
  EXPECT_EQ(Training().base, TestDigest("m0"));
  NodeFinished finished;
  finished.update = TestDigest("last");
  ASSERT_TRUE(Post(a_.Say(End(), finished)).ok());
  ASSERT_TRUE(Post(b_.Say(End(), finished)).ok());
  Vote(1, "m1");
  EXPECT_EQ(Training().phase, Phase::kDone);
  const Position over = Training().instance;

  EXPECT_EQ(
      StableCode(
          core_->Enrol(ContractName("t"), a_.Claim(End(), StatedRules(), over), peer_).status()),
      "training-done");
  EXPECT_EQ(Training().instance, over);
  Enrol(a_, StatedRules(1));
  EXPECT_GT(Training().instance, over);
  EXPECT_EQ(Training().rules.min_peers, 1U);
}

TEST_F(CoreTest, RefusesWhatFailsTheHeaderTestAndStoresNothing) {
  Enrol(a_);
  const Place before = End();
  TestNode stranger("c", 7);
  EXPECT_EQ(CodeOf("no entry"), "bad-entry");
  EXPECT_EQ(CodeOf(stranger.CheckIn(End(), 0)), "unknown-key");
  a_.ForgetOneSeq();
  EXPECT_EQ(CodeOf(a_.CheckIn(End(), 0)), "seq-used");
  EXPECT_EQ(CodeOf(a_.CheckIn({Position(1), TestDigest("x")}, 0)), "split-ledger");
  EXPECT_EQ(CodeOf(a_.CheckIn({Position(99), TestDigest("x")}, 0)), "seen-ahead");
  EXPECT_EQ(CodeOf(a_.CheckIn({Position(0), *feed_->HeadAt(Position(0))}, 0)), "seen-too-old");
  std::string forged = a_.CheckIn(End(), 0);
  forged.back() = forged.back() == 'A' ? 'Q' : 'A';
  EXPECT_THAT(CodeOf(forged), ::testing::AnyOf("bad-signature", "bad-entry"));
  EXPECT_EQ(End(), before);
}

TEST_F(CoreTest, TheSameBytesAgainAreASuccess) {
  Enrol(a_);
  const std::string entry = a_.CheckIn(End(), 0);
  ASSERT_TRUE(Post(entry).ok());
  const Place end = End();
  const auto again = Post(entry);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->end, end);
}

// The answer to a claim may get lost: its author cannot know that it is in.
TEST_F(CoreTest, TheSameClaimAgainIsASuccessWhileItsNodeIsPresent) {
  Enrol(a_);
  const std::string claim = b_.Claim(End());
  ASSERT_TRUE(core_->Enrol(b_.contract(), claim, peer_).ok());
  const Place end = End();

  const Result<Place> again = core_->Enrol(b_.contract(), claim, peer_);
  EXPECT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(End(), end);

  ASSERT_TRUE(Post(b_.Say(End(), NodeAway{b_.name()})).ok());
  EXPECT_EQ(StableCode(core_->Enrol(b_.contract(), claim, peer_).status()), "claim-used");
  EXPECT_TRUE(core_->Enrol(b_.contract(), b_.Claim(End()), peer_).ok());
}

TEST_F(CoreTest, StoresAnEntryWhoseBodyIsVoidAndSaysWhy) {
  Enrol(a_);
  const std::int64_t end = End().position.value();
  const auto posted = Post(a_.CheckIn(End(), 5));
  ASSERT_TRUE(posted.ok()) << posted.status();
  EXPECT_FALSE(posted->ignored.at(0).empty());
  EXPECT_EQ(End().position.value(), end + 1);
  EXPECT_EQ(feed_->Notes(End().position, 1).at(0).reason, posted->ignored.at(0));
}

TEST_F(CoreTest, AnAppendOfSeveralEntriesIsAllOrNothing) {
  Enrol(a_);
  const Place before = End();
  const std::string good = a_.CheckIn(before, 0);
  EXPECT_FALSE(core_->Append(std::vector<std::string>{good, "bad"}).ok());
  EXPECT_EQ(End(), before);
  const auto both = core_->Append(std::vector<std::string>{good, a_.CheckIn(before, 0)});
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_EQ(both->ignored, (std::vector<std::string>{"", ""}));
}

TEST_F(CoreTest, RefusesAnAppendOverTheLimit) {
  EXPECT_EQ(
      StableCode(
          core_->Append(std::vector<std::string>{std::string(kAppendBytesMax + 1, 'x')}).status()),
      "append-too-large");
}

TEST_F(CoreTest, AFailedWriteIsTakenBackAndCanBeRepeated) {
  Enrol(a_);
  const Place before = End();
  const std::string entry = a_.CheckIn(before, 0);
  ledger_.fail_next = true;
  EXPECT_EQ(StableCode(Post(entry).status()), "ledger-unavailable");
  EXPECT_FALSE(core_->health().ok());
  EXPECT_EQ(End(), before);
  ASSERT_TRUE(Post(entry).ok());
  EXPECT_TRUE(core_->health().ok());
  EXPECT_EQ(End().position.value(), before.position.value() + 1);
}

TEST_F(CoreTest, ALockedLedgerIsKnownBeforeAnybodyAppends) {
  ledger_.writable = WithCode(absl::FailedPreconditionError("locked"), "ledger-locked");
  core_->CheckLedger();
  EXPECT_EQ(StableCode(core_->health()), "ledger-locked");
  const Instant since = core_->unhealthy_since();
  clock_.Advance(3s);
  core_->OnTime();  // Nothing to append: this shows nothing.
  core_->CheckLedger();
  EXPECT_EQ(StableCode(core_->health()), "ledger-locked");
  EXPECT_EQ(core_->unhealthy_since(), since);
  ledger_.writable = absl::OkStatus();
  core_->CheckLedger();
  EXPECT_TRUE(core_->health().ok());
}

TEST_F(CoreTest, AFullDiskIsNotForgottenBeforeAnAppendHasWorked) {
  Enrol(a_);
  const std::string entry = a_.CheckIn(End(), 0);
  ledger_.fail_next = true;
  ASSERT_FALSE(Post(entry).ok());
  core_->OnTime();
  core_->CheckLedger();
  EXPECT_FALSE(core_->health().ok());
  ASSERT_TRUE(Post(entry).ok());
  EXPECT_TRUE(core_->health().ok());
}

TEST_F(CoreTest, ClosesAtTheGraceWithoutTheRest) {
  Enrol(a_, StatedRules(1));
  Enrol(b_, StatedRules(1));
  ASSERT_TRUE(Post(a_.CheckIn(End(), 0)).ok());
  ASSERT_TRUE(core_->wake_at());
  EXPECT_EQ(Training().phase, Phase::kCollecting);
  EXPECT_FALSE(feed_->Current()->waiting.empty());
  clock_.AdvanceTo(*core_->wake_at());
  core_->OnTime();
  EXPECT_EQ(Training().phase, Phase::kMerging);
  EXPECT_EQ(Training().members.size(), 1U);
}

TEST_F(CoreTest, OperatorsCreateAmendResetAndRevoke) {
  const OperatorClaim claim{.jws = "", .spiffe_id = boss_.text()};
  const ContractName name("t");
  Rules rules;
  rules.min_peers = 2;
  ASSERT_TRUE(core_->Operate(name, ContractCreated{rules, claim}).ok());
  EXPECT_EQ(StableCode(core_->Operate(name, ContractCreated{rules, claim}).status()), "exists");
  ASSERT_TRUE(core_->Operate(name, ContractAmended{1, claim}).ok());
  EXPECT_EQ(Training().rules.min_peers, 1U);
  Enrol(a_, StatedRules(1));
  ASSERT_TRUE(core_->Operate(name, NodeRevoked{NodeName("a"), claim}).ok());
  EXPECT_TRUE(Training().nodes.empty());
  const Position instance = Training().instance;
  ASSERT_TRUE(core_->Operate(name, ContractReset{claim}).ok());
  EXPECT_GT(Training().instance, instance);
  EXPECT_EQ(StableCode(core_->Operate(ContractName("x"), ContractReset{claim}).status()),
            "no-such-training");
  EXPECT_EQ(StableCode(core_->Operate(name, NodeRevoked{NodeName("z"), claim}).status()),
            "refused");
}

TEST_F(CoreTest, OnlyNamedAdministratorsMayChangeATraining) {
  Rules rules;
  rules.admins = {boss_.text()};
  ASSERT_TRUE(core_->Operate(ContractName("t"), ContractCreated{rules, {"", boss_.text()}}).ok());
  EXPECT_EQ(
      StableCode(core_->Operate(ContractName("t"), ContractReset{{"", peer_.text()}}).status()),
      "refused");
}

TEST_F(CoreTest, ARestartAsksNobodyBeforeItsOwnerIsReady) {
  Enrol(a_);
  core_.reset();
  int asked = 0;
  Feed feed;
  const auto core = SnCore::Open(
      {}, {ledger_, clock_, key_, feed, Log(), {}, [&asked](const Probe&) { ++asked; }});
  ASSERT_TRUE(core.ok()) << core.status();
  EXPECT_EQ(asked, 0);
  (*core)->OnTime();
  EXPECT_GT(asked, 0);
}

TEST_F(CoreTest, ARestartReplaysToTheSameStateAndGoesOn) {
  Enrol(a_);
  Enrol(b_);
  PlayRound(0, "m0");
  const Place end = End();
  Open();
  EXPECT_EQ(End(), end);
  EXPECT_EQ(Training().base, TestDigest("m0"));
  PlayRound(1, "m1");
  EXPECT_EQ(Training().base, TestDigest("m1"));
}

}  // namespace
}  // namespace starling
