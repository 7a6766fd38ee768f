// Golden scripts: a story a test, told entry by entry, with the state after each in words.
#include <gtest/gtest.h>

#include "base/text.h"
#include "protocol/story_testing.h"

namespace starling {
namespace {

// Appends the outcome of one line and answers the tale so far: "<line> -> <state>" or
// "<line> ignored: <reason>".
class Tale {
 public:
  explicit Tale(Story& story) : story_(story) {}
  void Line(const std::string& words, const std::string& reason) {
    if (reason.empty()) {
      StrAppend(&text_, words, "\n  ", story_.Text(), "\n");
    } else {
      StrAppend(&text_, words, "\n  ignored: ", reason, "\n");
    }
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  Story& story_;
  std::string text_;
};

TEST(Golden, TwoNodesTrainTwoRoundsAndEnd) {
  Story s;
  Tale t(s);
  t.Line("create", s.Create({.min_peers = 2}));
  t.Line("a enrols", s.Enrol("a"));
  t.Line("a checks in", s.CheckIn("a", "a0"));
  t.Line("close", s.Close());
  t.Line("b enrols", s.Enrol("b"));
  t.Line("b checks in", s.CheckIn("b", "b0"));
  t.Line("close", s.Close());
  t.Line("a votes", s.Merge("a", "m0"));
  t.Line("b votes", s.Merge("b", "m0"));
  t.Line("b checks in", s.CheckIn("b", "b1"));
  t.Line("a finishes", s.Finish("a", FinishMode::kSnapshot, "a1"));
  t.Line("close", s.Close());
  t.Line("b votes", s.Merge("b", "m1"));
  t.Line("a votes", s.Merge("a", "m1"));
  t.Line("b finishes", s.Finish("b", FinishMode::kActive));
  t.Line("close", s.Close());
  t.Line("a votes", s.Merge("a", "m2"));
  t.Line("b votes", s.Merge("b", "m2"));
  t.Line("b checks in", s.CheckIn("b", "b3"));
  EXPECT_EQ(t.text(),
            R"(create
  round 0 collecting;; P=; votes=; grounds=; holders=
a enrols
  round 0 collecting; a:; P=; votes=; grounds=; holders=
a checks in
  round 0 collecting; a:a0; P=; votes=; grounds=; holders=
close
  ignored: 1 node is ready; the quorum is 2
b enrols
  round 0 collecting; a:a0 b:; P=; votes=; grounds=; holders=
b checks in
  round 0 collecting; a:a0 b:b0; P=; votes=; grounds=; holders=
close
  round 0 merging; a:a0 b:b0; P=a b; votes=; grounds=; holders=
a votes
  round 0 merging; a:a0 b:b0; P=a b; votes=a:m0; grounds=; holders=
b votes
  round 1 collecting; a: b:; P=; votes=; grounds=; holders=a b; base=m0
b checks in
  round 1 collecting; a: b:b1; P=; votes=; grounds=; holders=a b; base=m0
a finishes
  round 1 collecting; a(snapshot): b:b1; P=; votes=; grounds=; holders=a b; base=m0
close
  round 1 merging; a(snapshot): b:b1; P=a b; votes=; grounds=; holders=a b; base=m0
b votes
  round 1 merging; a(snapshot): b:b1; P=a b; votes=b:m1; grounds=; holders=a b; base=m0
a votes
  round 2 collecting; a(snapshot): b:; P=; votes=; grounds=; holders=a b; base=m1
b finishes
  round 2 collecting; a(snapshot): b(active):; P=; votes=; grounds=; holders=a b; base=m1
close
  round 2 merging; a(snapshot): b(active):; P=a b; votes=; grounds=; holders=a b; base=m1
a votes
  round 2 merging; a(snapshot): b(active):; P=a b; votes=a:m2; grounds=; holders=a b; base=m1
b votes
  round 2 done; a(snapshot): b(active):; P=; votes=; grounds=; holders=a b; base=m2
b checks in
  ignored: the training is done
)");
}

TEST(Golden, AnOwnerDiesAndTheRoundIsMergedWithoutIt) {
  Story s;
  s.Begin({"a", "b", "c"}, {.min_peers = 2});
  Tale t(s);
  for (const std::string name : {"a", "b", "c"}) ASSERT_EQ(s.CheckIn(name, name + "0"), "");
  t.Line("close", s.Close());
  t.Line("b has stalled on c", s.Stall("b", {"c"}));
  t.Line("reopen without c", s.Reopen({"c"}));
  t.Line("close", s.Close());
  t.Line("a votes", s.Merge("a", "m0"));
  t.Line("b votes", s.Merge("b", "m0"));
  t.Line("c is back", s.Enrol("c"));
  t.Line("c holds the model", s.Hold("c", 0, "m0"));
  t.Line("c checks in", s.CheckIn("c", "c1"));
  EXPECT_EQ(t.text(),
            R"(close
  round 0 merging; a:a0 b:b0 c:c0; P=a b c; votes=; grounds=; holders=
b has stalled on c
  round 0 merging; a:a0 b:b0 c:c0; P=a b c; votes=; grounds=b c; holders=
reopen without c
  round 0 attempt 1 collecting; a:a0 b:b0 c(away):; P=; votes=; grounds=; holders=
close
  round 0 attempt 1 merging; a:a0 b:b0 c(away):; P=a b; votes=; grounds=; holders=
a votes
  round 0 attempt 1 merging; a:a0 b:b0 c(away):; P=a b; votes=a:m0; grounds=; holders=
b votes
  round 1 collecting; a: b: c(away):; P=; votes=; grounds=; holders=a b; base=m0
c is back
  round 1 collecting; a: b: c:; P=; votes=; grounds=; holders=a b; base=m0
c holds the model
  round 1 collecting; a: b: c:; P=; votes=; grounds=; holders=a b c; base=m0
c checks in
  round 1 collecting; a: b: c:c1; P=; votes=; grounds=; holders=a b c; base=m0
)");
}

TEST(Golden, ALiarIsFoundOutByTheOthersVotes) {
  Story s;
  s.Begin({"a", "b", "c"});
  Tale t(s);
  for (const std::string name : {"a", "b", "c"}) ASSERT_EQ(s.CheckIn(name, name + "0"), "");
  ASSERT_EQ(s.Close(), "");
  t.Line("c lies", s.Merge("c", "x0"));
  t.Line("a votes", s.Merge("a", "m0"));
  t.Line("c lies again", s.Merge("c", "x0"));
  t.Line("b votes", s.Merge("b", "m0"));
  t.Line("c insists", s.Hold("c", 0, "x0"));
  EXPECT_EQ(t.text(),
            R"(c lies
  round 0 merging; a:a0 b:b0 c:c0; P=a b c; votes=c:x0; grounds=; holders=
a votes
  round 0 merging; a:a0 b:b0 c:c0; P=a b c; votes=a:m0 c:x0; grounds=a c; holders=
c lies again
  ignored: its author has voted in this attempt already
b votes
  round 1 collecting; a: b: c:; P=; votes=; grounds=; holders=a b; base=m0
c insists
  ignored: round 0 was sealed with another root
)");
}

TEST(Golden, AResetDuringAMergeBeginsAgain) {
  Story s;
  s.Begin({"a", "b"});
  Tale t(s);
  for (const std::string name : {"a", "b"}) ASSERT_EQ(s.CheckIn(name, name + "0"), "");
  t.Line("close", s.Close());
  const Digest set = s.contract().set;
  t.Line("reset", s.Say("sn", ContractReset{{"", "spiffe://test/op"}}));
  t.Line("a enrols", s.Enrol("a"));
  t.Line("a votes for what was",
         s.Say("a", RoundMerged{RoundId{0}, AttemptId{0}, set, RootNamed("m0"), {}}));
  t.Line("b votes for what was",
         s.Say("b", RoundMerged{RoundId{0}, AttemptId{0}, set, RootNamed("m0"), {}}));
  EXPECT_EQ(t.text(),
            R"(close
  round 0 merging; a:a0 b:b0; P=a b; votes=; grounds=; holders=
reset
  round 0 collecting;; P=; votes=; grounds=; holders=
a enrols
  round 0 collecting; a:; P=; votes=; grounds=; holders=
a votes for what was
  ignored: round 0 is not closed
b votes for what was
  ignored: its key is neither an SN's nor that of a node enrolled in this training
)");
}

}  // namespace
}  // namespace starling
