#include "swci/training.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "swci/sn_client_testing.h"
#include "swci/views.h"

namespace starling {
namespace {

using ::testing::HasSubstr;
using Action = TrainingRequest::Action;

class TrainingTest : public ::testing::Test {
 protected:
  std::string Run(const TrainingRequest& request, int code = 0) {
    std::ostringstream out;
    EXPECT_EQ(ExitCodeOf(RunTraining(request, client_, out)), code);
    return out.str();
  }
  FakeSn sn_;
  FakeSnClient client_{sn_};
};

TEST_F(TrainingTest, CreatesWithTheRulesThatWereGiven) {
  TrainingRequest request{.action = Action::kCreate, .name = "t"};
  request.rules.min_peers = 3;
  request.rules.initial = "merge";
  EXPECT_EQ(Run(request), "training t: created (entry 1)\n");
  EXPECT_EQ(sn_.contracts["t"]["rules"]["min_peers"], 3);
  EXPECT_EQ(sn_.contracts["t"]["rules"]["initial"], "merge");
  EXPECT_FALSE(sn_.contracts["t"]["rules"].contains("sync_interval"));
  Run(request, 4);
}

TEST_F(TrainingTest, RefusesRulesThatCannotBe) {
  TrainingRules bad;
  bad.initial = "best";
  EXPECT_FALSE(RulesFrom(bad).ok());
  bad = {};
  bad.members = {"a"};
  EXPECT_FALSE(RulesFrom(bad).ok());
  bad.members = {"a=notakey"};
  EXPECT_FALSE(RulesFrom(bad).ok());
}

TEST_F(TrainingTest, ListsAndShowsWithoutSurprises) {
  EXPECT_EQ(Run({.action = Action::kList}), "no trainings\n");
  sn_.contracts["t"] = FakeSn::ContractJson("t");
  sn_.contracts["t"]["nodes"] = {FakeSn::ContractNodeJson("alpha", true)};
  EXPECT_EQ(Run({.action = Action::kList}),
            "TRAINING  PHASE       ROUND  SEALED  NODES  MODEL\n"
            "t         collecting  0      0       1/1    -\n");
  EXPECT_THAT(Run({.action = Action::kShow, .name = "t"}), HasSubstr("alpha"));
  const Json shown = Json::parse(Run({.action = Action::kShow, .name = "t", .json = true}));
  EXPECT_EQ(shown, sn_.contracts["t"]);
  Run({.action = Action::kShow, .name = "u"}, 1);
  Run({.action = Action::kShow, .name = "../u"}, 2);
}

TEST_F(TrainingTest, SaysToTheSnWhatWasAsked) {
  sn_.contracts["t"] = FakeSn::ContractJson("t");
  TrainingRequest set{.action = Action::kSet, .name = "t"};
  Run(set, 2);
  set.min_peers = 1;
  Run(set);
  Run({.action = Action::kReset, .name = "t"});
  Run({.action = Action::kRevoke, .name = "t", .node = "a"});
  EXPECT_THAT(sn_.said, ::testing::ElementsAre("amend t 1", "reset t", "revoke t a"));
}

TEST_F(TrainingTest, StatusSaysWhoWaitsForWhomSinceWhenAndWhatIsNext) {
  ManualClock clock;
  sn_.contracts["t"] = FakeSn::ContractJson("t");
  sn_.contracts["t"]["waiting"] = {{{"on", {"c"}},
                                    {"what", "round 3"},
                                    {"since_unix_ms", UnixMs(clock.UtcNow()) - 12000},
                                    {"next", "closes without c in 12 s"}}};
  std::ostringstream out;
  ASSERT_TRUE(RunStatus({}, client_, clock, {}, out).ok());
  EXPECT_THAT(out.str(), HasSubstr("SN sn: up for 61 s, 5 entries, head aaaaaaaa\n"));
  EXPECT_THAT(out.str(), HasSubstr("round 3, waits for c, since "));
  EXPECT_THAT(out.str(), HasSubstr("(12 s); next: closes without c in 12 s"));
}

TEST_F(TrainingTest, WatchingPrintsOnlyWhatHasChanged) {
  const ManualClock clock;
  int pauses = 0;
  const auto pause = [&](Duration) {
    if (++pauses == 2) sn_.contracts["t"] = FakeSn::ContractJson("t");
    return pauses < 4;
  };
  std::ostringstream out;
  ASSERT_TRUE(RunStatus({.watch = true}, client_, clock, pause, out).ok());
  const std::string text = out.str();
  std::size_t blocks = 0;
  for (std::size_t at = text.find("--- "); at != std::string::npos; at = text.find("--- ", at + 1))
    ++blocks;
  EXPECT_EQ(blocks, 2U);
}

TEST(Views, WhatAnSnAnswersIsPrintable) {
  Json json = FakeSn::ContractJson("t");
  json["leader"] = "a\x1b[2J";
  const Result<ContractView> view = ParseContractView(json);
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->leader, "a\\x1b[2J");
  json.erase("phase");
  EXPECT_FALSE(ParseContractView(json).ok());
}

}  // namespace
}  // namespace starling
