#include "tools/story.h"

#include "base/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/source.h"
#include "tools/tools_testing.h"

namespace starling {
namespace {

TEST(Story, TellsEveryRoundOfATraining) {
  SmallTraining training("story");
  training.Play();
  const Result<Story> story = ReadStory(training.directory + "/sn/ledger.db");
  ASSERT_TRUE(story.ok()) << story.status();
  const Result<const TrainingStory*> told = story->Find("");
  ASSERT_TRUE(told.ok()) << told.status();
  ASSERT_EQ((*told)->rounds.size(), 3U);
  EXPECT_TRUE((*told)->done);
  const RoundStory& second = (*told)->rounds.at(RoundId{1});
  EXPECT_EQ(second.members.size(), 2U);
  EXPECT_EQ(second.kind, MergeKind::kMean);
  EXPECT_EQ(second.root, training.contract().roots.at(RoundId{1}));
  EXPECT_EQ(second.holders.size(), 2U);
  EXPECT_EQ(second.sealed_unix_ms - second.closed_unix_ms, 2000);
  EXPECT_EQ(HoldersLine(**told), "same final model on 2 of 2 nodes");
}

TEST(Story, TheParagraphNamesWhoTookPartAndTheResult) {
  SmallTraining training("paragraph");
  training.Play();
  const Story story = *ReadStory(training.directory + "/sn/ledger.db");
  const TrainingStory& told = **story.Find("t");
  const std::string text = RoundParagraph(told, told.rounds.at(RoundId{1}));
  for (const std::string& part :
       {std::string("2 of 2 nodes took part"), std::string("weight 3"),
        RootText(*told.rounds.at(RoundId{1}).root), std::string("weighted mean")}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(Story, AnUnknownTrainingIsNamedWithTheKnownOnes) {
  SmallTraining training("unknown");
  training.Play();
  const Story story = *ReadStory(training.directory + "/sn/ledger.db");
  EXPECT_TRUE(absl::IsNotFound(story.Find("x").status()));
  EXPECT_NE(NextStep(story.Find("x").status()).find("t"), std::string::npos);
}

// A log of one SN and the nodes a, b, c, d, in memory: round 0 is closed with all of them.
class Troubled {
 public:
  Troubled() {
    Say("sn", SnJoined{SignSnClaim(Key("sn"),
                                   {NodeName{"sn"}, Key("sn").public_key(), "https://sn:1"}, 0, {}),
                       1,
                       "embedded",
                       {}});
    Rules rules;
    rules.min_peers = 2;
    Say("sn", ContractCreated{rules, {"", "spiffe://t/operator"}});
    for (const char* name : {"a", "b", "c", "d"}) {
      Enrol(name);
      Say(name, CheckedIn{RoundId{0}, HashOf(AsBytes(std::string(name))), std::nullopt, {}});
    }
    Close({});
  }

  void Say(const std::string& author, Event event) {
    const ContractName training{std::holds_alternative<SnJoined>(event) ? "" : "t"};
    const std::string entry =
        SignStatement(Key(author), {training, ++seq_, story.replay().place(), std::move(event)});
    time_unix_ms_ += 1000;
    ASSERT_TRUE(story
                    .Add({story.entries(), time_unix_ms_,
                          NextHead(story.replay().place().head, entry), entry})
                    .ok());
  }
  void Enrol(const std::string& name, const std::string& key = "") {
    const SigningKey& own = Key(key.empty() ? name : key);
    NodeClaim claim;
    claim.name = NodeName{name};
    claim.key = own.public_key();
    claim.blob_url = "https://host:2";
    claim.rules.schema = HashOf({});
    claim.rules.size = 10;
    Say("sn",
        NodeEnrolled{SignNodeClaim(own, {ContractName{"t"}, ++seq_, story.replay().place(), claim}),
                     "spiffe://t/sl/" + name});
  }
  void Close(std::vector<NodeName> without) {
    Say("sn", RoundClosed{now().round, now().attempt, std::move(without)});
  }
  void Stall(const std::string& author, const std::string& on, const std::string& why) {
    Say(author, Stalled{now().round, now().attempt, now().set, {NodeName{on}}, why});
  }
  void Reopen(const std::string& without) {
    Say("sn", RoundReopened{now().round, now().attempt, {NodeName{without}}});
  }
  void Vote(const std::string& author, const std::string& word) {
    Say(author, RoundMerged{now().round, now().attempt, now().set, Root(word), {}});
  }
  // As one does who has not read of the seal yet.
  void VoteLate(const std::string& author, const std::string& word, const Digest& set) {
    Say(author, RoundMerged{RoundId{0}, AttemptId{0}, set, Root(word), {}});
  }
  static Digest Root(const std::string& word) { return HashOf(AsBytes(word)); }
  [[nodiscard]] const Contract& now() const {
    return story.replay().state().contracts.at(ContractName{"t"});
  }
  [[nodiscard]] const RoundStory& round(std::uint64_t number) const {
    return (*story.Find(""))->rounds.at(RoundId{number});
  }

  Story story;

 private:
  const SigningKey& Key(const std::string& name) {
    return keys_.try_emplace(name, *SigningKey::FromSeed(HashOf(AsBytes(name)).span()))
        .first->second;
  }

  std::map<std::string, SigningKey> keys_;
  std::uint64_t seq_ = 0;
  std::int64_t time_unix_ms_ = 0;
};

using ::testing::HasSubstr;

TEST(StoryOfTrouble, NamesWhoWasBlamedByWhomAndForWhat) {
  Troubled log;
  log.Stall("a", "d", "wrong bytes");
  log.Stall("b", "d", "silent, refused");
  log.Reopen("d");
  log.Close({});
  log.Vote("a", "m");
  log.Vote("b", "m");

  const std::string text = TroubleLines(log.round(0));

  EXPECT_THAT(text, HasSubstr("attempt 1, led by "));
  EXPECT_THAT(text, HasSubstr("a blames d: sent wrong bytes; "));
  EXPECT_THAT(text, HasSubstr("b blames d: sent too little for too long; refused or broke off; "));
  EXPECT_THAT(text, HasSubstr("opened again after 3.00 s without d."));
  EXPECT_EQ(text.find("attempt 2"), std::string::npos) << text;
  EXPECT_THAT(RoundParagraph(**log.story.Find(""), log.round(0)), HasSubstr(text));
  const Json told = StoryJson(**log.story.Find(""), RoundId{0})["rounds"][0]["attempts"];
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0]["blames"][0], (Json{{"by", "a"}, {"on", {"d"}}, {"why", "wrong bytes"}}));
  EXPECT_EQ(told[0]["members"], Json({"a", "b", "c", "d"}));
  EXPECT_EQ(told[1]["members"], Json({"a", "b", "c"}));
  EXPECT_EQ(told[0]["removed"], Json({"d"}));
  EXPECT_EQ(told[1]["removed"], Json::array());
}

TEST(StoryOfTrouble, NamesWhoVotedForAnotherModelInTimeAndTooLate) {
  Troubled log;
  const Digest set = log.now().set;
  log.Vote("d", "x");
  log.Vote("a", "m");
  log.Vote("b", "m");
  log.VoteLate("c", "y", set);

  const std::string text = TroubleLines(log.round(0));

  EXPECT_THAT(text, HasSubstr("d voted for another model, " + ShortText(Troubled::Root("x"))));
  EXPECT_THAT(text, HasSubstr("c voted for another model, " + ShortText(Troubled::Root("y"))));
  EXPECT_EQ(text.find("a voted"), std::string::npos) << text;
}

TEST(StoryOfTrouble, ShowsBothSidesWhereAConflictOpensTheRoundAgain) {
  Troubled log;
  log.Vote("d", "x");
  log.Vote("a", "m");
  log.Reopen("d");

  EXPECT_THAT(TroubleLines(log.round(0)),
              HasSubstr("a voted for " + ShortText(Troubled::Root("m"))));
  EXPECT_THAT(TroubleLines(log.round(0)),
              HasSubstr("d voted for " + ShortText(Troubled::Root("x"))));
}

TEST(StoryOfTrouble, TellsWhoWentAndCameAndOfAWipedDisk) {
  Troubled log;
  log.Vote("a", "m");
  log.Vote("b", "m");
  log.Say("sn", NodeAway{NodeName{"c"}});
  log.Say("d", NodeAway{NodeName{"d"}});
  log.Enrol("c");
  log.Enrol("d", "another");

  EXPECT_EQ(TroubleLines(log.round(1)),
            "  c was gone: it did not answer sn.\n  d left.\n  c enrolled again.\n"
            "  d enrolled again, with a new key.\n");
}

TEST(StoryOfTrouble, ARoundWithoutTroubleSaysNothingOfIt) {
  Troubled log;
  log.Vote("a", "m");
  log.Vote("b", "m");
  log.Vote("c", "m");

  EXPECT_EQ(TroubleLines(log.round(0)), "");
}

}  // namespace
}  // namespace starling
