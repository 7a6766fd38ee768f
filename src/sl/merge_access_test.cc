// Who may have what of a node's updates and models, over the wire.
#include "sl/merge_testing.h"

namespace starling {
namespace {

class AccessOverTheWireTest : public MergeTest {
 protected:
  AccessOverTheWireTest() {
    HoldBase();
    job_ = Close();
  }
  std::string TokenFor(Site& asker, Site& holder, ByteRange range) const {
    GetToken token;
    token.server = holder.key().kid();
    token.root = *contract_.FindMember(NodeName{holder.name()})->update;
    token.begin = range.begin;
    token.end = range.end;
    token.exp_unix_s = UnixMs(clock_.UtcNow()) / 1000 + 30;
    token.instance = job_.instance;
    token.round = job_.round;
    token.set = job_.set;
    return "Bearer " + SignGetToken(asker.key(), token);
  }
  static Result<ClientResponse> Ask(Site& asker, Site& holder, const std::string& target,
                                    const std::map<std::string, std::string>& headers = {}) {
    return asker.client().Do(holder.endpoint(), {.target = target, .headers = headers}, {});
  }
  static std::string CodeOf(const Result<ClientResponse>& answer) {
    return answer.ok() ? StableCode(StatusOf(answer->status, answer->body)) : "no answer";
  }
  [[nodiscard]] std::string UpdateTarget(const Site& holder) const {
    return StrCat("/v1/blobs/", RootText(*contract_.FindMember(NodeName{holder.name()})->update));
  }
  // One that is neither the leader nor the follower.
  Site& Third() {
    for (const auto& site : sites_) {
      if (site.get() != &Leader() && site.get() != &Follower()) return *site;
    }
    abort();
  }

  MergeJob job_;
};

TEST_F(AccessOverTheWireTest, TheOwnerGetsAnUpdateAndTheOthersDoNot) {
  const ByteRange all{0, layout_->size()};
  const std::string target = UpdateTarget(Follower());

  const auto owner =
      Ask(Leader(), Follower(), target, {{"authorization", TokenFor(Leader(), Follower(), all)}});
  const auto other =
      Ask(Third(), Follower(), target, {{"authorization", TokenFor(Third(), Follower(), all)}});
  const auto bare = Ask(Leader(), Follower(), target);
  const auto stolen =
      Ask(Leader(), Follower(), target, {{"authorization", TokenFor(Leader(), Third(), all)}});

  ASSERT_TRUE(owner.ok()) << owner.status();
  EXPECT_EQ(owner->status, 200);
  EXPECT_EQ(owner->body.size(), layout_->size());
  for (const auto* refused : {&other, &bare, &stolen}) {
    ASSERT_TRUE(refused->ok()) << refused->status();
    EXPECT_EQ((*refused)->status, 403);
    EXPECT_EQ(CodeOf(*refused), "not-for-you");
  }
}

TEST_F(AccessOverTheWireTest, ARangeBeyondTheTokensIsRefused) {
  const std::string token = TokenFor(Leader(), Follower(), {0, kChunkBytes});

  const auto answer = Ask(Leader(), Follower(), UpdateTarget(Follower()),
                          {{"authorization", token}, {"range", "bytes=0-2000000"}});

  EXPECT_EQ(CodeOf(answer), "not-for-you");
}

TEST_F(AccessOverTheWireTest, AnAuditorGetsExactlyItsChunk) {
  ASSERT_TRUE(Leader().Compute(job_).ok());
  const LeafList leaves = LeavesOf(Leader().arenas().merged->blob());
  const RunKey key{job_.instance, job_.round, job_.set, 0};
  Follower().board().Begin(key, {0, leaves.size()});
  Follower().board().Complete(key, std::make_shared<LeafList>(leaves));
  const std::uint64_t audited =
      AuditedChunk(RootOfLeaves(leaves), job_.set, NodeName{Third().name()}, 0, {0, leaves.size()});
  std::vector<int> statuses;
  for (std::uint64_t chunk = 0; chunk < leaves.size(); ++chunk) {
    const ByteRange range = ChunkRange(layout_->size(), chunk);
    const auto answer = Ask(Third(), Follower(), UpdateTarget(Follower()),
                            {{"authorization", TokenFor(Third(), Follower(), range)},
                             {"range", StrCat("bytes=", range.begin, "-", range.end - 1)}});
    ASSERT_TRUE(answer.ok()) << answer.status();
    statuses.push_back(answer->status);
  }

  std::vector<int> expected(leaves.size(), 403);
  expected[audited] = 206;
  EXPECT_EQ(statuses, expected);
}

TEST_F(AccessOverTheWireTest, MergedModelsAreForEnrolledNodesOnly) {
  Site stranger("stranger", 999, clock_, authority_, layout_);
  const std::string model = StrCat("/v1/blobs/", RootText(*contract_.base));

  const auto enrolled = Ask(Third(), Leader(), model, {{"range", "bytes=0-99"}});
  ASSERT_TRUE(enrolled.ok()) << enrolled.status();
  EXPECT_EQ(enrolled->status, 206);
  EXPECT_EQ(enrolled->body, ToString(ByteSpan(base_).first(100)));
  for (const std::string& target :
       {model, model + "/leaves", std::string("/v1/progress/4"),
        StrCat("/merge/4/3/", HexOf(job_.set), "/0"), std::string("/v1/models")}) {
    const auto answer = Ask(stranger, Leader(), target);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->status, 403) << target;
    EXPECT_EQ(CodeOf(answer), "not-for-you") << target;
  }
}

// Of an earlier round or training: it is on the disk, and its root is in the log.
TEST_F(AccessOverTheWireTest, AnUpdateThatIsNoPartOfTheRoundIsNotServed) {
  const ByteRange all{0, layout_->size()};
  const std::string target = UpdateTarget(Follower());
  const std::string token = TokenFor(Leader(), Follower(), all);
  for (Member& member : contract_.members) {
    if (member.name.value() == Follower().name()) member.update = contract_.base;
  }
  Follower().board().SetContract(std::make_shared<const Contract>(contract_));

  const auto answer = Ask(Leader(), Follower(), target, {{"authorization", token}});

  EXPECT_EQ(CodeOf(answer), "not-for-you");
}

TEST_F(AccessOverTheWireTest, AnUpdateIsNoLongerServedOnceItsRoundIsSealed) {
  contract_.phase = Phase::kCollecting;
  contract_.round = RoundId{4};
  Follower().board().SetContract(std::make_shared<const Contract>(contract_));

  const auto answer = Ask(Leader(), Follower(), UpdateTarget(Follower()) + "/leaves",
                          {{"authorization", TokenFor(Leader(), Follower(), {0, 0})}});

  EXPECT_EQ(CodeOf(answer), "not-for-you");
}

TEST_F(AccessOverTheWireTest, ARunOfAnEarlierRoundIsGoneAtOnce) {
  const auto answer = Ask(Third(), Leader(), StrCat("/merge/4/2/", HexOf(job_.set), "/0"));

  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->status, 404);
}

}  // namespace
}  // namespace starling
