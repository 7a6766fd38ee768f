// Replay: the header test, attacks with entries of the past, and that nothing but the log matters.
#include "protocol/replay.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "base/text.h"
#include "crypto/jws.h"
#include "protocol/story_testing.h"

namespace starling {
namespace {

CheckedIn CheckInOf(const std::string& word) {
  return {RoundId{0}, RootNamed(word), std::nullopt, {}};
}

// Two rounds, an ignored entry of each kind of author, an end.
Story WholeStory() {
  Story story;
  story.Begin({"a", "b", "c"}, {.min_peers = 2});
  story.Round({"a", "b", "c"});
  EXPECT_NE(story.Close(), "");
  EXPECT_NE(story.Merge("a", "x"), "");
  EXPECT_EQ(story.Finish("a", FinishMode::kSnapshot, "a1"), "");
  story.Round({"b", "c"});
  EXPECT_EQ(story.Finish("b", FinishMode::kActive), "");
  EXPECT_EQ(story.Finish("c", FinishMode::kInactive), "");
  EXPECT_NE(story.CheckIn("c", "c2"), "");
  story.Round({});
  EXPECT_EQ(story.contract().phase, Phase::kDone);
  return story;
}

TEST(Header, BytesThatAreNoEntryAreIgnored) {
  Story story;
  const Digest before = story.replay.StateHash();
  EXPECT_EQ(story.Append("hello"), "JWS: not header.payload.signature");
  EXPECT_NE(story.Append(""), "");
  EXPECT_NE(story.Append(std::string(200'000, 'a')), "");
  EXPECT_EQ(story.replay.StateHash(), before);
  EXPECT_EQ(story.replay.place().position, Position{3});  // But they have their place in the log.
}

TEST(Header, AnEntryOfAnotherTypIsIgnored) {
  Story story;
  story.Begin({"a"});
  const Json payload = StatementJson({story.training, 5, story.replay.place(), CheckInOf("a0")});
  EXPECT_EQ(story.Append(SignJws(story.key("a"), kGetTyp, payload)),
            "JWS: the header is not exactly ours (typ starling-entry)");
}

TEST(Header, AForgedSignatureIsIgnored) {
  Story story;
  story.Begin({"a"});
  std::string entry = story.Sign("a", CheckInOf("a0"));
  const std::size_t last = entry.rfind('.');
  entry[last + 1] = entry[last + 1] == 'A' ? 'B' : 'A';
  EXPECT_EQ(story.Append(entry), "the signature is not good");
}

TEST(Header, AChangedPayloadIsIgnored) {
  Story story;
  story.Begin({"a"});
  const std::string one = story.Sign("a", CheckInOf("a0"));
  const std::string two = story.Sign("a", CheckInOf("a1"));
  EXPECT_EQ(story.Append(two.substr(0, two.rfind('.')) + one.substr(one.rfind('.'))),
            "the signature is not good");
}

TEST(Header, AnUnknownKeyIsIgnored) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Say("thief", CheckInOf("a0")),
            "its key is neither an SN's nor that of a node enrolled in this training");
}

TEST(Header, ANodeOfAnotherTrainingIsIgnored) {
  Story story;
  story.Begin({"a"});
  story.training = ContractName{"t2"};
  story.Begin({"b"});
  EXPECT_EQ(story.Say("a", CheckInOf("a0")),
            "its key is neither an SN's nor that of a node enrolled in this training");
}

TEST(Header, ATrainingThatDoesNotExistIsNamed) {
  Story story;
  EXPECT_EQ(story.Say("sn", NodeAway{NodeName{"a"}}), "there is no training t");
}

TEST(Header, ASeqIsUsedOnceEvenByAnIgnoredEntry) {
  Story story;
  story.Begin({"a"});
  const std::uint64_t seq = story.NextSeq("a");
  const Place seen = story.replay.place();
  ASSERT_NE(story.Append(story.SignAt("a", NodeAway{NodeName{"z"}}, seq, seen)), "");
  EXPECT_EQ(story.Append(story.SignAt("a", CheckInOf("a0"), seq, seen)),
            StrCat("its seq ", seq, " was used before"));
  EXPECT_EQ(story.Append(story.SignAt("a", CheckInOf("a0"), seq + 5, seen)), "");
}

TEST(Header, AFailedHeaderTestUsesNoSeq) {
  Story story;
  story.Begin({"a"});
  const std::uint64_t seq = story.NextSeq("a");
  Place wrong = story.replay.place();
  wrong.head = RootNamed("x");
  ASSERT_NE(story.Append(story.SignAt("a", CheckInOf("a0"), seq, wrong)), "");
  EXPECT_EQ(story.Append(story.SignAt("a", CheckInOf("a0"), seq, story.replay.place())), "");
}

TEST(Header, SeenMayBeOldButNotOfTheFuture) {
  Story story;
  story.Begin({"a"});
  const Place old = story.replay.place();
  ASSERT_EQ(story.Away("sn", "a"), "");
  EXPECT_EQ(story.Append(story.SignAt("a", CheckInOf("a0"), story.NextSeq("a"), old)), "");
  const Place future{Position{story.replay.place().position.value() + 1}, Digest{}};
  EXPECT_EQ(story.Append(story.SignAt("a", CheckInOf("a1"), story.NextSeq("a"), future)),
            "it was made for another ledger: the head at its seen place is another");
}

TEST(Header, SeenBeforeTheInstanceIsIgnored) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(story.Append(story.SignAt("sn", RoundClosed{}, story.NextSeq("sn"), Place{})),
            "it was made for an earlier instance of the training");
}

TEST(Attack, AnEntryAppendedAgainIsIgnored) {
  Story story;
  story.Begin({"a"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  const std::string again = story.entries.back();
  EXPECT_NE(story.Append(again), "");
}

TEST(Attack, EveryEntryAppendedLaterIsIgnored) {
  Story story = WholeStory();
  const std::vector<std::string> old = story.entries;
  const Digest before = story.replay.StateHash();
  for (const std::string& entry : old) EXPECT_NE(story.Append(entry), "");
  EXPECT_EQ(story.replay.StateHash(), before);
}

TEST(Attack, EveryEntryOfAnEarlierInstanceIsIgnored) {
  Story story;
  story.Begin({"a", "b"});
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  // Signed, kept back, and shown once the next instance has the same nodes.
  const std::string kept = story.Sign("b", CheckInOf("b0"));
  const std::string enrolment = story.Sign("sn", story.EnrolmentOf("c"));
  const std::vector<std::string> old = story.entries;
  ASSERT_EQ(story.Say("sn", ContractReset{{"", "spiffe://test/op"}}), "");
  ASSERT_EQ(story.Enrol("a"), "");
  ASSERT_EQ(story.Enrol("b"), "");
  const Digest before = story.replay.StateHash();
  EXPECT_NE(story.Append(kept), "");
  EXPECT_NE(story.Append(enrolment), "");
  for (const std::string& entry : old) EXPECT_NE(story.Append(entry), "");
  EXPECT_EQ(story.replay.StateHash(), before);
  // Not only because of the seq:
  const Place early{Position{1}, *story.replay.HeadAt(Position{1})};
  EXPECT_EQ(story.Append(story.SignAt("b", CheckInOf("b0"), story.NextSeq("b"), early)),
            "it was made for an earlier instance of the training");
}

TEST(Attack, EveryEntryOfAnotherLedgerIsIgnored) {
  // The same people with the same keys made two ledgers; only the first training's name differs.
  Story one;
  Story two;
  ASSERT_EQ(two.Say("sn", ContractCreated{{}, {"", "spiffe://test/other"}}), "");
  ASSERT_EQ(one.Create(), "");
  ASSERT_EQ(one.Enrol("a"), "");
  ASSERT_EQ(two.Enrol("a"), "");
  const Digest before = two.replay.StateHash();
  const std::string foreign =
      one.SignAt("a", CheckInOf("a0"), one.NextSeq("a") + 10, one.replay.place());
  ASSERT_TRUE(one.replay.Try(foreign).valid());
  EXPECT_EQ(two.Append(foreign),
            "it was made for another ledger: the head at its seen place is another");
  for (const std::string& entry : one.entries) EXPECT_NE(two.Append(entry), "");
  EXPECT_EQ(two.replay.StateHash(), before);
}

TEST(Purity, TheSameLogGivesTheSameStateAndHeads) {
  const Story story = WholeStory();
  Replay again;
  for (std::size_t i = 0; i < story.entries.size(); ++i) {
    EXPECT_EQ(again.Apply(story.entries[i]).reason, story.reasons[i]);
  }
  EXPECT_EQ(again.StateHash(), story.replay.StateHash());
  EXPECT_EQ(again.place(), story.replay.place());
}

TEST(Purity, ACopyIsIndependent) {
  Story story;
  story.Begin({"a"});
  const Replay copy = story.replay;
  const Digest before = copy.StateHash();
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  EXPECT_EQ(copy.StateHash(), before);
  EXPECT_NE(story.replay.StateHash(), before);
}

TEST(Purity, DroppingIgnoredEntriesChangesOnlySeqsAndPositions) {
  const Story story = WholeStory();
  std::size_t dropped = 0;
  // Signed anew, since `seen` names a head: the statements stay, seqs and places follow.
  Story bare;
  for (std::size_t i = 1; i < story.entries.size(); ++i) {
    if (!story.reasons[i].empty()) {
      ++dropped;
      continue;
    }
    const Statement statement = *ParseStatement(ParseJws(story.entries[i], kEntryTyp)->payload);
    Event event = statement.event;
    std::string author = "sn";
    for (const std::string name : {"a", "b", "c"}) {
      if (ParseJws(story.entries[i], kEntryTyp)->kid == story.key(name).kid()) author = name;
    }
    if (auto* enrolled = std::get_if<NodeEnrolled>(&event)) {
      enrolled->claim = bare.EnrolmentOf(ParseNodeClaim(enrolled->claim)->claim.name.value()).claim;
    }
    EXPECT_EQ(bare.Say(author, event), "");
  }
  EXPECT_EQ(dropped, 3U);
  EXPECT_EQ(bare.replay.StateHash(), story.replay.StateHash());
  EXPECT_NE(bare.replay.place().position, story.replay.place().position);
}

TEST(Purity, TheStateHashOfAFixedLogIsTheSameInEveryBuild) {
  const Story story = WholeStory();
  EXPECT_EQ(HexOf(story.replay.StateHash()),
            "23902175a18135c96ce141b4f4ac89f84a26f541faba067bd21409fa6bf10e3d");
  EXPECT_EQ(HexOf(story.replay.place().head),
            "415af45ca2460f22ae28fbbe8d781db00a6eb59c9d9a638b1d8d3d732276fac5");
}

TEST(Verdicts, NameTypeAuthorAndTraining) {
  Story story;
  story.Begin({"a"});
  const Verdict good = story.replay.Try(story.Sign("a", CheckInOf("a0")));
  EXPECT_TRUE(good.valid());
  EXPECT_EQ(good.type, "checked-in");
  EXPECT_EQ(good.author, "a");
  EXPECT_EQ(good.contract, story.training);
  const Verdict bad = story.replay.Try(story.Sign("sn", RoundClosed{}));
  EXPECT_EQ(bad.author, "sn");
  EXPECT_EQ(bad.type, "round-closed");
  EXPECT_EQ(bad.reason, "0 nodes are ready; the quorum is 1");
}

TEST(Heads, AreKnownForEveryPositionAndNoOther) {
  Story story;
  story.Begin({"a"});
  EXPECT_EQ(*story.replay.HeadAt(Position{-1}), Digest{});
  EXPECT_EQ(*story.replay.HeadAt(story.replay.place().position), story.replay.place().head);
  EXPECT_FALSE(story.replay.HeadAt(Position{3}).ok());
  EXPECT_FALSE(story.replay.HeadAt(Position{-2}).ok());
  EXPECT_EQ(*story.replay.HeadAt(Position{0}), NextHead(Digest{}, story.entries[0]));
}

}  // namespace
}  // namespace starling
