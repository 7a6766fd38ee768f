// What is derived from the state: the set hash (with the worked example of docs/protocol.md), the
// merge schedule, the audited chunks.
#include "protocol/state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/fs.h"
#include "base/text.h"
#include "protocol/story_testing.h"

namespace starling {
namespace {

// The lines of the fenced block that follows `title` in docs/protocol.md, as name -> rest.
std::map<std::string, std::string> WorkedExample(std::string_view title) {
  const Result<std::string> text = ReadFile(STARLING_SOURCE_DIR "/docs/protocol.md");
  if (!text.ok()) return {};
  const std::size_t at = text->find(title);
  const std::size_t begin = text->find("```\n", at);
  const std::size_t end = text->find("```\n", begin + 4);
  if (at == std::string::npos || end == std::string::npos) return {};
  std::map<std::string, std::string> lines;
  std::string_view block = std::string_view(*text).substr(begin + 4, end - begin - 4);
  while (!block.empty()) {
    const std::string_view line = block.substr(0, block.find('\n'));
    const std::size_t space = line.find(' ');
    if (space != std::string_view::npos) {
      lines[std::string(line.substr(0, space))] =
          std::string(line.substr(line.find_first_not_of(' ', space)));
    }
    block.remove_prefix(std::min(block.size(), line.size() + 1));
  }
  return lines;
}

TEST(SetHash, TheWorkedExampleOfTheDocumentDecodes) {
  const std::map<std::string, std::string> lines = WorkedExample("### A set hash");
  ASSERT_EQ(lines.size(), 3U);
  const Result<Json> list = ParseJson(lines.at("P"));
  ASSERT_TRUE(list.ok()) << list.status();
  std::vector<Member> members;
  for (const Json& item : *list) {
    Member member{NodeName{item.at("name")}, NodeKind::kTrainer, std::nullopt, item.at("weight")};
    for (const NodeKind kind : {NodeKind::kSnapshot, NodeKind::kActive, NodeKind::kInactive}) {
      if (item.at("kind") == KindName(kind)) member.kind = kind;
    }
    const std::string update = item.at("update");
    if (!update.empty()) member.update = *ParseRoot(update);
    members.push_back(member);
  }
  EXPECT_EQ(MembersJson(members), lines.at("P"));
  EXPECT_EQ(HexOf(SetHash(*ParseRoot(lines.at("base")), members)), lines.at("set"));
}

TEST(SetHash, NamesEveryMemberFieldAndTheBase) {
  const std::vector<Member> members = {{NodeName{"a"}, NodeKind::kTrainer, RootNamed("u"), 1}};
  std::set<Digest> seen = {SetHash(std::nullopt, members), SetHash(RootNamed("m"), members)};
  std::vector<Member> other = members;
  other[0].name = NodeName{"b"};
  seen.insert(SetHash(std::nullopt, other));
  other = members;
  other[0].kind = NodeKind::kSnapshot;
  seen.insert(SetHash(std::nullopt, other));
  other = members;
  other[0].update = RootNamed("v");
  seen.insert(SetHash(std::nullopt, other));
  other = members;
  other[0].weight = 2;
  seen.insert(SetHash(std::nullopt, other));
  seen.insert(SetHash(std::nullopt, {}));
  EXPECT_EQ(seen.size(), 7U);
}

Story Closed(const Names& names, const Names& followers) {
  Story story;
  EXPECT_EQ(story.Create(), "");
  for (const std::string& name : names) {
    const bool leads = std::find(followers.begin(), followers.end(), name) == followers.end();
    EXPECT_EQ(story.Enrol(name, [&](SignedNodeClaim& c) { c.claim.may_lead = leads; }), "");
    EXPECT_EQ(story.CheckIn(name, name + "0"), "");
  }
  EXPECT_EQ(story.Close(), "");
  return story;
}

TEST(Owners, AreChosenAmongThoseThatMayLead) {
  const Story story = Closed({"a", "b", "c", "d"}, {"a", "b", "d"});
  EXPECT_EQ(OwnersOf(story.contract()), NodeNames({"c"}));
  EXPECT_EQ(LeaderOf(story.contract()), NodeName{"c"});
}

TEST(Owners, AreChosenAmongAllWhenNobodyMayLead) {
  const Story story = Closed({"a", "b"}, {"a", "b"});
  EXPECT_EQ(OwnersOf(story.contract()).size(), 1U);
}

TEST(Owners, HaveTheHighestHashOfInstanceRoundAttemptAndName) {
  const Story story = Closed({"a", "b", "c"}, {});
  std::vector<std::pair<Digest, NodeName>> ranks;
  for (const NodeName& name : NodeNames({"a", "b", "c"})) {
    ranks.emplace_back(PartsHash()
                           .Add(std::uint64_t{1})  // the instance: created by entry 1
                           .Add(std::uint64_t{0})
                           .Add(std::uint64_t{0})
                           .Add(name.value())
                           .Finish(),
                       name);
  }
  EXPECT_EQ(LeaderOf(story.contract()), std::max_element(ranks.begin(), ranks.end())->second);
}

TEST(Owners, ChangeFromAttemptToAttempt) {
  Story story = Closed({"a", "b", "c", "d", "e", "f"}, {});
  std::set<NodeName> leaders;
  for (int i = 0; i < 3; ++i) {
    const NodeName leader = LeaderOf(story.contract());
    leaders.insert(leader);
    ASSERT_EQ(story.Stall(leader.value(), {}), "");
    ASSERT_EQ(story.Reopen({leader.value()}), "");
    ASSERT_EQ(story.Close(), "");
  }
  EXPECT_EQ(leaders.size(), 3U);
}

TEST(Owners, RunsCoverAllChunksOnce) {
  for (const std::uint64_t chunks : {1U, 2U, 7U, 16U, 100U}) {
    for (const std::uint64_t owners : {1U, 2U, 3U, 16U}) {
      std::uint64_t next = 0;
      for (std::uint64_t i = 0; i < owners; ++i) {
        const ChunkRun run = RunOfOwner(chunks, owners, i);
        EXPECT_EQ(run.begin, next);
        EXPECT_LE(run.begin, run.end);
        next = run.end;
      }
      EXPECT_EQ(next, chunks);
    }
  }
}

TEST(MergeKinds, RoundZeroCopiesTheLeaderUnlessTheRulesSayMerge) {
  EXPECT_EQ(MergeKindOf(Closed({"a", "b"}, {}).contract()), MergeKind::kCopyOfLeader);
  Story story;
  Rules rules;
  rules.initial = InitialMerge{};
  story.Begin({"a"}, rules);
  ASSERT_EQ(story.CheckIn("a", "a0"), "");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(MergeKindOf(story.contract()), MergeKind::kMean);
}

TEST(MergeKinds, LaterRoundsTakeTheMean) {
  Story story;
  story.Begin({"a"});
  story.Round({"a"});
  ASSERT_EQ(story.CheckIn("a", "a1"), "");
  ASSERT_EQ(story.Close(), "");
  EXPECT_EQ(MergeKindOf(story.contract()), MergeKind::kMean);
}

TEST(Audits, AChunkIsInsideTheRunAndDependsOnEveryPart) {
  const ChunkRun run{100, 1'000'100};
  const auto chunk = [&](std::string_view leaves, std::string_view set, const char* who,
                         std::uint64_t j) {
    return AuditedChunk(RootNamed(leaves), RootNamed(set), NodeName{who}, j, run);
  };
  const std::set<std::uint64_t> chunks = {chunk("l", "s", "a", 0), chunk("l", "s", "a", 1),
                                          chunk("l", "s", "b", 0), chunk("l", "t", "a", 0),
                                          chunk("k", "s", "a", 0)};
  EXPECT_EQ(chunks.size(), 5U);
  for (const std::uint64_t each : chunks) {
    EXPECT_GE(each, run.begin);
    EXPECT_LT(each, run.end);
  }
  EXPECT_EQ(AuditedChunk(RootNamed("l"), RootNamed("s"), NodeName{"a"}, 0, {5, 6}), 5U);
}

}  // namespace
}  // namespace starling
