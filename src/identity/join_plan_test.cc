#include "identity/join_plan.h"

#include "gmock/gmock.h"

namespace starling {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr UtcTime kNow{milliseconds{1'700'000'000'000}};

JoinState StateUntil(UtcTime until) {
  auto agent = std::make_shared<Svid>();
  agent->not_before = kNow - hours(1);
  agent->not_after = until;
  return {.trust_domain = "a", .token_hash = TokenHash("old"), .agent = agent, .bundle = {}};
}

struct Start {
  Result<JoinState> state = absl::NotFoundError("no file");
  std::string token;
  std::string trust_domain = "a";
  bool in_file = false;
};
Result<JoinStart> Decide(const Start& start) {
  return DecideJoinStart({.state = start.state,
                          .path = "/d/spire-agent.json",
                          .trust_domain = start.trust_domain,
                          .token_hash = TokenHash(start.token),
                          .token_in_file = start.in_file,
                          .now = kNow});
}
std::string CodeOf(const Start& start) { return StableCode(Decide(start).status()); }

TEST(JoinPlan, AGoodStateGoesOnWithoutATokenOrWithItsOwn) {
  const JoinState state = StateUntil(kNow + hours(1));
  EXPECT_EQ(*Decide({.state = state}), JoinStart::kResume);
  EXPECT_EQ(*Decide({.state = state, .token = "old"}), JoinStart::kResume);
}

TEST(JoinPlan, AnotherTokenAttestsWhateverTheStateIs) {
  const Status broken = WithCode(absl::FailedPreconditionError("/d: broken"), "join-state-broken");
  for (const Result<JoinState>& state :
       {Result<JoinState>(StateUntil(kNow + hours(1))), Result<JoinState>(StateUntil(kNow)),
        Result<JoinState>(absl::NotFoundError("no file")), Result<JoinState>(broken)}) {
    EXPECT_EQ(*Decide({.state = state, .token = "new"}), JoinStart::kAttest) << state.status();
  }
  const JoinState foreign = StateUntil(kNow + hours(1));
  EXPECT_EQ(*Decide({.state = foreign, .token = "new", .trust_domain = "b"}), JoinStart::kAttest);
}

TEST(JoinPlan, ATokenInAFileIsKeptForAStateThatIsOfNoUse) {
  const JoinState good = StateUntil(kNow + hours(1));
  for (const std::string token : {"", "old", "new"})
    EXPECT_EQ(*Decide({.state = good, .token = token, .in_file = true}), JoinStart::kResume);
  const Status broken = WithCode(absl::FailedPreconditionError("/d: broken"), "join-state-broken");
  for (const Result<JoinState>& state :
       {Result<JoinState>(StateUntil(kNow)), Result<JoinState>(absl::NotFoundError("no file")),
        Result<JoinState>(broken)}) {
    EXPECT_EQ(*Decide({.state = state, .token = "new", .in_file = true}), JoinStart::kAttest)
        << state.status();
  }
  const auto foreign = [&](const std::string& token) {
    return Start{.state = good, .token = token, .trust_domain = "b", .in_file = true};
  };
  EXPECT_EQ(*Decide(foreign("new")), JoinStart::kAttest);
  EXPECT_EQ(CodeOf(foreign("old")), "join-state-broken");
  for (const std::string token : {"", "old"}) {
    EXPECT_EQ(CodeOf({.state = StateUntil(kNow), .token = token, .in_file = true}),
              "agent-expired");
  }
}

TEST(JoinPlan, ALostAgentIsReplacedByAnotherTokenInTheFileOnly) {
  const Status refusal = WithNext(
      WithCode(absl::PermissionDeniedError("it refuses this node"), "agent-refused"), "a token");
  const auto decided = [&](const std::string& token, bool waits = false) {
    return DecideLostAgent({.loss = refusal,
                            .kept_hash = TokenHash("old"),
                            .spent_hash = TokenHash("spent"),
                            .path = "/t/token",
                            .file_hash = TokenHash(token),
                            .waits = waits});
  };
  EXPECT_TRUE(decided("new").ok());
  for (const std::string token : {"", "old", "spent"}) {
    const Status end = decided(token);
    EXPECT_TRUE(IsFinalJoinError(end));
    EXPECT_EQ(StableCode(end), "agent-refused");
    EXPECT_EQ(NextStep(end), "a token");
    EXPECT_THAT(std::string(end.message()),
                AllOf(HasSubstr("it refuses this node"), HasSubstr("/t/token")));
    EXPECT_THAT(NextStep(decided(token, true)), HasSubstr("put another one there"));
  }
  EXPECT_NE(decided("").message(), decided("old").message());
  EXPECT_NE(decided("spent").message(), decided("old").message());
}

TEST(JoinPlan, WithoutAWayOnEveryStartSaysThatATokenIsWanted) {
  const Status broken = WithCode(absl::FailedPreconditionError("/d: broken"), "join-state-broken");
  EXPECT_EQ(CodeOf({}), "join-token-missing");
  EXPECT_EQ(CodeOf({.state = broken}), "join-state-broken");
  EXPECT_EQ(CodeOf({.state = StateUntil(kNow)}), "agent-expired");
  EXPECT_EQ(CodeOf({.state = StateUntil(kNow), .token = "old"}), "agent-expired");
  EXPECT_EQ(CodeOf({.state = StateUntil(kNow + hours(1)), .trust_domain = "b"}),
            "join-state-broken");
  for (const Start& start : {Start{}, Start{.state = broken}, Start{.state = StateUntil(kNow)}}) {
    EXPECT_THAT(NextStep(Decide(start).status()), HasSubstr("spire-server token generate"));
  }
  EXPECT_THAT(std::string(Decide({.state = StateUntil(kNow), .token = "old"}).status().message()),
              AllOf(HasSubstr(FormatUtc(kNow)), HasSubstr("was spent")));
}

JoinEntry Entry(const std::string& id, const std::string& spiffe_id, const std::string& hint = "") {
  return {.id = id, .spiffe_id = spiffe_id, .hint = hint, .revision = 0, .federates_with = {}};
}

TEST(JoinPlan, TheEntryIsChosenByHintOrPathAndNeverGuessed) {
  const std::vector<JoinEntry> entries = {Entry("3", "spiffe://a/swarm/sn"),
                                          Entry("2", "spiffe://a/swarm/sl", "big"),
                                          Entry("1", "spiffe://a/swarm/sl")};
  const auto chosen = [&](const SvidChoice& choice) {
    return ChooseEntry(entries, choice, "a").value().id;
  };
  EXPECT_EQ(chosen({.paths = {"/swarm/sl"}, .hint = ""}), "1");
  EXPECT_EQ(chosen({.paths = {"*/sn"}, .hint = ""}), "3");
  EXPECT_EQ(chosen({.paths = {"/swarm/sn"}, .hint = "big"}), "2");
  const Status none = ChooseEntry(entries, {.paths = {"/swarm/swci"}, .hint = ""}, "a").status();
  EXPECT_EQ(StableCode(none), "no-matching-entry");
  EXPECT_THAT(std::string(none.message()),
              AllOf(HasSubstr("/swarm/swci"), HasSubstr("spiffe://a/swarm/sl (hint big)"),
                    HasSubstr("spiffe://a/swarm/sn")));
  EXPECT_FALSE(ChooseEntry(entries, {}, "a").ok());
  EXPECT_FALSE(ChooseEntry(entries, {.paths = {"*"}, .hint = ""}, "b").ok());
  EXPECT_EQ(ChooseEntry({Entry("1", "spiffe://a/x")}, {}, "a").value().id, "1");
  EXPECT_FALSE(ChooseEntry({}, {}, "a").ok());
}

TEST(JoinPlan, RenewsAtHalfOfWhatWasLeft) {
  Svid svid;
  svid.not_before = kNow - seconds(10);
  svid.not_after = kNow + seconds(10);
  const JoinLife life = LifeOf(svid, kNow);
  EXPECT_FALSE(RenewalDue(life, kNow));  // Though half of the certificate's own span is over.
  EXPECT_FALSE(RenewalDue(life, kNow + seconds(4)));
  EXPECT_TRUE(RenewalDue(life, kNow + seconds(5)));
  EXPECT_TRUE(RenewalDue(LifeOf(svid, kNow + minutes(1)), kNow + minutes(1)));  // It came too late.
}

TEST(JoinPlan, LooksAtAQuarterOfTheLifeOrAtTheNextRenewal) {
  JoinTimes times{.agent = {kNow, kNow + hours(1)}, .svid = {}, .looked = kNow};
  times.svid = JoinLife{kNow, kNow + seconds(60)};
  EXPECT_EQ(NextLook(times), kNow + seconds(15));
  times.looked = kNow + seconds(28);
  EXPECT_EQ(NextLook(times), kNow + seconds(30));
  times.agent.until = kNow + seconds(58);
  EXPECT_EQ(NextLook(times), kNow + seconds(29));
  times.svid = JoinLife{kNow, kNow + hours(48)};
  times.agent.until = kNow + hours(48);
  EXPECT_EQ(NextLook(times), times.looked + minutes(1));
  times.svid = JoinLife{kNow, kNow};  // A certificate without any life left must not make it spin.
  EXPECT_EQ(NextLook(times), times.looked + seconds(1));
}

TEST(JoinPlan, AClockThatJumpsIsNotSleptOut) {
  const JoinTimes times{.agent = {kNow, kNow + hours(1)}, .svid = {}, .looked = kNow};
  EXPECT_EQ(LookPause(times, kNow), minutes(1));
  EXPECT_EQ(LookPause(times, kNow + seconds(40)), seconds(20));
  EXPECT_EQ(LookPause(times, kNow + hours(9)), seconds(0));
  EXPECT_EQ(LookPause(times, kNow - milliseconds(1)), seconds(0));
  EXPECT_EQ(LookPause(times, kNow - hours(9)), seconds(0));
}

TEST(JoinPlan, RetriesSlowerButNeverBeyondHalfOfWhatIsLeft) {
  EXPECT_EQ(RetryPause(0, {}, kNow), seconds(1));
  EXPECT_EQ(RetryPause(3, {}, kNow), seconds(8));
  EXPECT_EQ(RetryPause(1000, {}, kNow), seconds(30));
  const std::vector<UtcTime> ends = {kNow + seconds(20), kNow - seconds(1), kNow + hours(1)};
  EXPECT_EQ(RetryPause(1000, ends, kNow), seconds(10));
  EXPECT_EQ(RetryPause(1000, {{kNow + milliseconds(1)}}, kNow), milliseconds(250));
}

TEST(JoinPlan, WaitingCuresAnOutageAndNoSpentToken) {
  EXPECT_TRUE(IsFinalJoinError(WithCode(absl::InvalidArgumentError(""), "join-token-spent")));
  EXPECT_FALSE(IsFinalJoinError(AgentExpired(kNow)));  // The clock may come back.
  EXPECT_FALSE(IsFinalJoinError(WithCode(absl::UnavailableError(""), "spire-server-unreachable")));
  EXPECT_FALSE(IsFinalJoinError(ChooseEntry({}, {}, "a").status()));
  EXPECT_FALSE(IsFinalJoinError(absl::OkStatus()));
}

}  // namespace
}  // namespace starling
