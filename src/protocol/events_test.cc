// Statements to and from JSON: every event survives the way, and everything else is refused.
#include "protocol/events.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "protocol/story_testing.h"

namespace starling {
namespace {

Rules FullRules() {
  Rules rules = StatedRules();
  rules.min_peers = 3;
  rules.witnesses = 4;
  rules.audit = 2;
  rules.weight_max = 50;
  rules.initial = RootNamed("m0");
  rules.members[NodeName{"a"}] = KeyNamed("a").public_key();
  rules.admins = {"spiffe://test/op"};
  rules.license_issuers = {"key"};
  return rules;
}

std::vector<Event> EveryEvent() {
  SnJoined first{"x.y.z", 1, "embedded", {KeyNamed("op").public_key()}};
  CheckinReport report;
  report.norm = 1.5;
  report.loss = 0.25;
  report.train_ms = 17;
  report.batches = 8;
  return {first,
          SnJoined{"x.y.z", 0, "", {}},
          ContractCreated{FullRules(), {"", "spiffe://test/op"}},
          ContractCreated{Rules{}, {"x.y.z", ""}},
          ContractReset{{"", "spiffe://test/op"}},
          ContractAmended{2, {"", "spiffe://test/op"}},
          NodeEnrolled{"x.y.z", "spiffe://test/sl/a"},
          NodeRevoked{NodeName{"a"}, {"", "spiffe://test/op"}},
          NodeAway{NodeName{"a"}},
          NodeAway{NodeName{"a"}, "its program was killed by signal 9"},
          CheckedIn{RoundId{0}, RootNamed("u"), std::nullopt, {}},
          CheckedIn{RoundId{1}, RootNamed("u"), RootNamed("m"), report},
          NodeFinished{FinishMode::kSnapshot, RootNamed("u"), {}},
          NodeFinished{FinishMode::kActive, std::nullopt, report},
          NodeFinished{FinishMode::kInactive, std::nullopt, {}},
          RoundClosed{RoundId{1}, AttemptId{2}, NodeNames({"a", "b"})},
          Stalled{RoundId{1}, AttemptId{2}, RootNamed("s"), NodeNames({"a"}), "silence"},
          RoundReopened{RoundId{1}, AttemptId{2}, NodeNames({"a"})},
          RoundMerged{RoundId{1}, AttemptId{2}, RootNamed("s"), RootNamed("m"), {1, 2, 3}}};
}

Statement StatementOf(const Event& event) {
  const bool joins = std::holds_alternative<SnJoined>(event);
  return {joins ? ContractName{} : ContractName{"t"}, 7, {Position{3}, RootNamed("h")}, event};
}

TEST(Statements, EveryEventSurvivesTheWayThroughJson) {
  for (const Event& event : EveryEvent()) {
    const Json json = StatementJson(StatementOf(event));
    const Result<Statement> parsed = ParseStatement(json);
    ASSERT_TRUE(parsed.ok()) << json << parsed.status();
    EXPECT_EQ(StatementJson(*parsed), json);
    EXPECT_EQ(TypeOf(parsed->event), TypeOf(event));
    EXPECT_EQ(parsed->seq, 7U);
    EXPECT_EQ(parsed->seen.position, Position{3});
  }
}

TEST(Statements, EveryEventRefusesAMemberItDoesNotKnow) {
  for (const Event& event : EveryEvent()) {
    Json json = StatementJson(StatementOf(event));
    json["surprise"] = 1;
    EXPECT_FALSE(ParseStatement(json).ok()) << json;
  }
}

TEST(Statements, EveryEventRefusesEachMemberWhenItHasAnotherType) {
  for (const Event& event : EveryEvent()) {
    const Json json = StatementJson(StatementOf(event));
    for (const auto& [name, value] : json.items()) {
      Json spoilt = json;
      spoilt[name] = nullptr;
      EXPECT_FALSE(ParseStatement(spoilt).ok()) << name << " of " << json;
    }
  }
}

TEST(Statements, EveryEventNeedsAllButItsReport) {
  // What people read may be missing; what decides may not.
  const std::vector<std::string> free = {"norm",        "loss",     "metric",  "base_loss",
                                         "base_metric", "train_ms", "batches", "pull_ms",
                                         "merge_ms",    "bytes"};
  for (const Event& event : EveryEvent()) {
    const Json json = StatementJson(StatementOf(event));
    for (const auto& [name, value] : json.items()) {
      const bool optional = std::find(free.begin(), free.end(), name) != free.end() ||
                            (std::holds_alternative<NodeAway>(event) && name == "why");
      const bool pins = std::holds_alternative<SnJoined>(event) && name == "protocol";
      Json spoilt = json;
      spoilt.erase(name);
      EXPECT_EQ(ParseStatement(spoilt).ok(), optional && !pins) << name << " of " << json;
    }
  }
}

TEST(Statements, AnUnknownTypeIsNamed) {
  Json json = StatementJson(StatementOf(NodeAway{NodeName{"a"}}));
  json["type"] = "round-stolen";
  EXPECT_EQ(ParseStatement(json).status().message(), "unknown type \"round-stolen\"");
}

TEST(Statements, SnJoinedNamesNoTraining) {
  Json json = StatementJson(StatementOf(SnJoined{"x.y.z", 0, "", {}}));
  json["contract"] = "t";
  EXPECT_EQ(ParseStatement(json).status().message(), "sn-joined names no training");
}

TEST(Statements, NamesThatAreNoNamesAreRefused) {
  for (const std::string name : {"", ".", "..", "a/b", "a b", "ä", "a\n"}) {
    Json json = StatementJson(StatementOf(NodeAway{NodeName{"a"}}));
    json["name"] = name;
    EXPECT_FALSE(ParseStatement(json).ok()) << name;
  }
  Json json = StatementJson(StatementOf(NodeAway{NodeName{"a"}}));
  json["name"] = std::string(129, 'a');
  EXPECT_FALSE(ParseStatement(json).ok());
  json["name"] = std::string(128, 'a');
  EXPECT_TRUE(ParseStatement(json).ok());
}

TEST(Statements, ListsOfNodesAreSortedAndNameEachOnce) {
  Json json = StatementJson(StatementOf(RoundClosed{}));
  json["without"] = {"a", "b"};
  EXPECT_TRUE(ParseStatement(json).ok());
  json["without"] = {"b", "a"};
  EXPECT_FALSE(ParseStatement(json).ok());
  json["without"] = {"a", "a"};
  EXPECT_FALSE(ParseStatement(json).ok());
}

TEST(Statements, APlaceIsAPositionAndAHead) {
  Json json = StatementJson(StatementOf(NodeAway{NodeName{"a"}}));
  json["seen"][0] = -1;
  EXPECT_TRUE(ParseStatement(json).ok());
  json["seen"][0] = -2;
  EXPECT_FALSE(ParseStatement(json).ok());
  json["seen"] = {1, "abc"};
  EXPECT_FALSE(ParseStatement(json).ok());
  json["seen"] = {1};
  EXPECT_FALSE(ParseStatement(json).ok());
  json["seen"] = {1.5, HexOf(Digest{})};
  EXPECT_FALSE(ParseStatement(json).ok());
}

TEST(Statements, AnOperatorsClaimIsOneOfTheTwo) {
  Json json = StatementJson(StatementOf(ContractReset{{"", "spiffe://test/op"}}));
  json["claim"]["jws"] = "x.y.z";
  EXPECT_FALSE(ParseStatement(json).ok());
  json["claim"] = Json::object();
  EXPECT_FALSE(ParseStatement(json).ok());
  json["claim"] = {{"spiffe_id", ""}};
  EXPECT_FALSE(ParseStatement(json).ok());
}

TEST(RulesText, SurvivesTheWayThroughJson) {
  EXPECT_EQ(*ParseRules(RulesJson(FullRules())), FullRules());
  EXPECT_EQ(*ParseRules(RulesJson(Rules{})), Rules{});
  EXPECT_EQ(*ParseRules(Json::object()), Rules{});
  Rules merge;
  merge.initial = InitialMerge{};
  EXPECT_EQ(*ParseRules(RulesJson(merge)), merge);
}

TEST(RulesText, RefusesWhatIsOutOfBounds) {
  const auto refused = [](std::string_view member, const Json& value) {
    return !ParseRules(Json{{std::string(member), value}}).ok();
  };
  EXPECT_TRUE(refused("min_peers", 0));
  EXPECT_TRUE(refused("min_peers", 1025));
  EXPECT_TRUE(refused("min_peers", -1));
  EXPECT_TRUE(refused("min_peers", 1.5));
  EXPECT_TRUE(refused("witnesses", 0));
  EXPECT_TRUE(refused("chunk", 4096));
  EXPECT_TRUE(refused("merge_version", 2));
  EXPECT_TRUE(refused("size", 0));
  EXPECT_TRUE(refused("initial", "random"));
  EXPECT_TRUE(refused("members", Json{{"a", "not a key"}}));
  EXPECT_TRUE(refused("surprise", 1));
}

TEST(RulesText, AMergeRuleOfALaterReleaseIsRefusedInOneLine) {
  const Status status = ParseRules(Json{{"merge", "geomedian"}}).status();
  EXPECT_EQ(status.message(), "merge rule \"geomedian\" comes in a later release");
}

TEST(RulesText, ADifferenceIsToldInWords) {
  Rules here = StatedRules();
  Rules there = StatedRules();
  EXPECT_EQ(RulesDifference(here, there, false), "");
  there.sync_interval = 100;
  EXPECT_EQ(RulesDifference(here, there, false), "sync_interval: 8 in the training, 100 here");
  here.sync_interval.reset();
  EXPECT_EQ(RulesDifference(here, there, false), "");
}

TEST(Claims, ANodeClaimSurvivesTheWay) {
  SignedNodeClaim claim;
  claim.contract = ContractName{"t"};
  claim.seq = 3;
  claim.seen = {Position{5}, RootNamed("h")};
  claim.claim = {NodeName{"a"}, KeyNamed("a").public_key(), "https://a:1", 4, false, StatedRules(),
                 Position{2}};
  const std::string jws = SignNodeClaim(KeyNamed("a"), claim);
  const Result<SignedNodeClaim> parsed = ParseNodeClaim(jws);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(SignNodeClaim(KeyNamed("a"), *parsed), jws);
  EXPECT_EQ(parsed->claim.instance, Position{2});
  EXPECT_FALSE(parsed->claim.may_lead);
}

TEST(Claims, AUrlIsHttpsWithHostAndPort) {
  SignedNodeClaim claim;
  claim.contract = ContractName{"t"};
  claim.claim.name = NodeName{"a"};
  claim.claim.key = KeyNamed("a").public_key();
  for (const std::string url :
       {"http://a:1", "https://a", "https://a:1/x", "https://u@a:1", "https://a:1?q", "",
        "https://a :1", "https://:1", "https://a:", "https://a:70000", "https://a:b"}) {
    claim.claim.blob_url = url;
    EXPECT_FALSE(ParseNodeClaim(SignNodeClaim(KeyNamed("a"), claim)).ok()) << url;
  }
  for (const std::string url : {"https://a:1", "https://10.0.0.1:30305", "https://[::1]:65535"}) {
    claim.claim.blob_url = url;
    EXPECT_TRUE(ParseNodeClaim(SignNodeClaim(KeyNamed("a"), claim)).ok()) << url;
  }
}

TEST(Claims, AnSnClaimSurvivesTheWay) {
  const SigningKey key = KeyNamed("sn");
  const std::string jws = SignSnClaim(key, {NodeName{"sn"}, key.public_key(), "https://sn:1"}, 4,
                                      {Position{1}, RootNamed("h")});
  const Result<SignedSnClaim> parsed = ParseSnClaim(jws);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->seq, 4U);
  EXPECT_EQ(parsed->seen.position, Position{1});
  EXPECT_EQ(SignSnClaim(key, parsed->claim, parsed->seq, parsed->seen), jws);
}

TEST(Claims, OneKindIsNotTakenForAnother) {
  const SigningKey key = KeyNamed("sn");
  const std::string sn =
      SignSnClaim(key, {NodeName{"sn"}, key.public_key(), "https://sn:1"}, 4, {});
  EXPECT_EQ(ParseNodeClaim(sn).status().message(), "a claim of type node-claim is expected");
}

TEST(Claims, AnOperatorMayAskForFourThings) {
  EXPECT_EQ(OperatorAsks(ContractReset{}).dump(), R"({"action":"contract-reset"})");
  EXPECT_EQ(OperatorAsks(ContractAmended{3, {}}).dump(),
            R"({"action":"contract-amended","min_peers":3})");
  EXPECT_EQ(OperatorAsks(NodeRevoked{NodeName{"a"}, {}}).dump(),
            R"({"action":"node-revoked","name":"a"})");
  EXPECT_TRUE(OperatorAsks(ContractCreated{}).contains("rules"));
  EXPECT_DEATH(static_cast<void>(OperatorAsks(NodeAway{})), "");
}

}  // namespace
}  // namespace starling
