#include "tools/story.h"

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

}  // namespace
}  // namespace starling
