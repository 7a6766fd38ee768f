#include "sl/merge_worker.h"

#include <atomic>
#include <future>
#include <set>

#include "base/mailbox.h"
#include "gmock/gmock.h"
#include "sl/access.h"
#include "sl/sl_testing.h"
#include "sl/source_fault.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

// The merge, computed from the updates by the plain reference.
Bytes Expected(const Layout& layout, const std::vector<Bytes>& updates,
               const std::vector<std::uint64_t>& weights, const Bytes& base) {
  Bytes merged(layout.size());
  for (std::uint64_t chunk = 0; chunk < ChunkCount(layout.size()); ++chunk) {
    const ByteRange range = ChunkRange(layout.size(), chunk);
    std::vector<ByteSpan> parts;
    for (const Bytes& update : updates)
      parts.push_back(ByteSpan(update).subspan(range.begin, range.size()));
    const ByteSpan before =
        base.empty() ? ByteSpan() : ByteSpan(base).subspan(range.begin, range.size());
    ReferenceMean(layout, chunk, parts, weights, before,
                  MutableByteSpan(merged).subspan(range.begin, range.size()));
  }
  return merged;
}

// Round 3 of a, b and c, closed, with weights 1, 3 and 100.
class MergeTest : public ::testing::Test {
 protected:
  MergeTest() {
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      sites_.push_back(std::make_unique<Site>(kNames[i], 100 + i, clock_, authority_, layout_));
      updates_.push_back(TestModel(*layout_, 7 + i));
    }
    contract_.name = ContractName{"t"};
    contract_.instance = Position{4};
    contract_.round = RoundId{3};
    contract_.phase = Phase::kMerging;
    contract_.rules.size = layout_->size();
    contract_.rules.schema = layout_->schema();
    for (std::size_t i = 0; i < sites_.size(); ++i) {
      const Node node = sites_[i]->AsNode(kWeights[i]);
      contract_.nodes[node.name] = node;
      contract_.members.push_back(
          {node.name, NodeKind::kTrainer, sites_[i]->Offer(updates_[i]), kWeights[i]});
    }
  }

  void HoldBase() {
    for (const auto& site : sites_) contract_.base = site->Hold(RoundId{2}, base_);
  }
  // What the log says now, to every site.
  MergeJob Close() {
    contract_.set = SetHash(contract_.base, contract_.members);
    const auto closed = std::make_shared<const Contract>(contract_);
    for (const auto& site : sites_) site->board().SetContract(closed);
    MergeJob job;
    job.instance = contract_.instance;
    job.round = contract_.round;
    job.set = contract_.set;
    job.base = contract_.base;
    job.kind = MergeKindOf(contract_);
    job.members = contract_.members;
    job.owners = OwnersOf(contract_);
    job.size = layout_->size();
    job.nodes = contract_.nodes;
    return job;
  }
  // What `site` tells of itself when it is asked.
  void SaysThatItMerges(Site& site, const MergeJob& job) {
    Progress progress;
    progress.round = job.round;
    progress.phase = Phase::kMerging;
    site.board().SetProgress(progress, clock_.Now());
  }
  Site& Leader() { return Named(LeaderOf(contract_).value()); }
  Site& Follower() { return *sites_[sites_[0].get() == &Leader() ? 1 : 0]; }
  Site& Named(const std::string& name) {
    for (const auto& site : sites_) {
      if (site->name() == name) return *site;
    }
    abort();
  }
  // Everybody computes at the same time; all must agree with `expected`.
  void ExpectAllGet(const MergeJob& job, const Bytes& expected) {
    std::vector<std::future<Result<MergeOutcome>>> runs;
    for (const auto& site : sites_) {
      runs.push_back(std::async(std::launch::async, [&job, &site] { return site->Compute(job); }));
    }
    for (std::size_t i = 0; i < runs.size(); ++i) {
      const Result<MergeOutcome> outcome = runs[i].get();
      ASSERT_TRUE(outcome.ok()) << sites_[i]->name() << ": " << outcome.status();
      EXPECT_TRUE(outcome->audit.ok()) << sites_[i]->name() << ": " << outcome->audit;
      EXPECT_EQ(outcome->root, RootOf(expected));
      EXPECT_EQ(*outcome->leaves, LeavesOf(expected));
      EXPECT_TRUE(AsText(sites_[i]->arenas().merged->blob()) == AsText(expected));
    }
  }

  // What a connection that is cut in its answer's body sends.
  StreamedBody Broken() const {
    return {layout_->size(), [](BodySink& sink, const std::stop_token&) {
              const Status sent = sink.Write(Bytes(1000));
              return sent.ok() ? absl::UnavailableError("cut") : sent;
            }};
  }

  static inline const std::vector<std::string> kNames = {"a", "b", "c"};
  static inline const std::vector<std::uint64_t> kWeights = {1, 3, 100};
  const RealClock clock_;
  const DevAuthority authority_ = MakeAuthority("swarm.local", clock_);
  const std::shared_ptr<const Layout> layout_ = std::make_shared<const Layout>(TestLayout());
  const Bytes base_ = TestModel(*layout_, 1);
  std::vector<std::unique_ptr<Site>> sites_;
  std::vector<Bytes> updates_;
  Contract contract_;
};

TEST_F(MergeTest, EverybodyGetsTheModelThatAnIndependentMergeGives) {
  HoldBase();
  const MergeJob job = Close();

  ExpectAllGet(job, Expected(*layout_, updates_, kWeights, base_));
}

TEST_F(MergeTest, WithoutABaseTheMeanIsTakenOfTheUpdatesAlone) {
  contract_.rules.initial = InitialMerge{};
  const MergeJob job = Close();

  ExpectAllGet(job, Expected(*layout_, updates_, kWeights, {}));
}

TEST_F(MergeTest, RoundZeroIsTheLeadersModel) {
  contract_.round = RoundId{0};
  const MergeJob job = Close();

  ASSERT_EQ(job.kind, MergeKind::kCopyOfLeader);
  const std::string leader = Leader().name();
  ExpectAllGet(job, updates_[static_cast<std::size_t>(leader[0] - 'a')]);
}

TEST_F(MergeTest, WeightsOfZeroKeepTheBase) {
  HoldBase();
  for (Member& member : contract_.members) member.weight = 0;
  const MergeJob job = Close();

  ASSERT_EQ(job.kind, MergeKind::kBase);
  ExpectAllGet(job, base_);
}

TEST_F(MergeTest, AnActiveNodeOffersTheBaseAndAnInactiveOneNothing) {
  HoldBase();
  contract_.members[0].kind = NodeKind::kActive;
  contract_.members[0].update = contract_.base;
  contract_.members[1].kind = NodeKind::kInactive;
  contract_.members[1].update = std::nullopt;
  contract_.members[1].weight = 0;
  const MergeJob job = Close();

  ExpectAllGet(job, Expected(*layout_, {base_, updates_[2]}, {1, 100}, base_));
}

TEST_F(MergeTest, ASiteThatReadTheCloseEarlierWaitsForTheOthersLog) {
  HoldBase();
  const MergeJob job = Close();
  Contract collecting = contract_;
  collecting.phase = Phase::kCollecting;
  for (const auto& site : sites_) {
    if (site.get() != &Leader())
      site->board().SetContract(std::make_shared<const Contract>(collecting));
  }
  std::atomic<int> asked = 0;
  for (const auto& site : sites_) {
    if (site.get() == &Leader()) continue;
    site->SetBefore([this, &asked, &site](const HttpRequest& request, const std::stop_token& stop) {
      // The news arrives while the question waits.
      if (asked.fetch_add(1) == 0) {
        for (const auto& each : sites_)
          each->board().SetContract(std::make_shared<const Contract>(contract_));
      }
      return site->Serve(request, stop);
    });
  }

  const Result<MergeOutcome> outcome = Leader().Compute(job);

  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->root, RootOf(Expected(*layout_, updates_, kWeights, base_)));
}

TEST_F(MergeTest, AChunkThatDoesNotMatchItsLeafEndsTheMerge) {
  HoldBase();
  const MergeJob job = Close();
  Site& source = Follower();
  source.arenas().update->mutable_blob()[2 * kChunkBytes + 5] ^= std::byte{1};

  const Result<MergeOutcome> outcome = Leader().Compute(job);

  EXPECT_EQ(StableCode(outcome.status()), "wrong-bytes");
  EXPECT_THAT(std::string(outcome.status().message()),
              HasSubstr(StrCat("update of ", source.name(), ": chunk 2 ")));
}

TEST_F(MergeTest, AnAuditorFindsALyingLeader) {
  HoldBase();
  const MergeJob job = Close();
  Bytes lie = Expected(*layout_, updates_, kWeights, base_);
  // A lie in every chunk: the auditor looks at one, and nobody knows beforehand at which.
  for (std::uint64_t chunk = 0; chunk < ChunkCount(lie.size()); ++chunk)
    lie[chunk * kChunkBytes + kChunkBytes / 8] ^= std::byte{1};
  std::memcpy(Leader().arenas().merged->mutable_blob().data(), lie.data(), lie.size());
  const RunKey key{job.instance, job.round, job.set, 0};
  for (const auto& site : sites_) {  // The third has the run already, so it serves auditors.
    site->board().Begin(key, {0, ChunkCount(lie.size())});
    site->board().Complete(key, std::make_shared<LeafList>(LeavesOf(lie)));
  }

  const Result<MergeOutcome> outcome = Follower().Compute(job);

  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(StableCode(outcome->audit), "wrong-merge");
  EXPECT_THAT(std::string(outcome->audit.message()), HasSubstr(Leader().name()));
}

TEST_F(MergeTest, ASourceThatBreaksOffIsResumedWhereItBroke) {
  HoldBase();
  const MergeJob job = Close();
  Site& source = Follower();
  std::mutex mutex;
  std::vector<std::string> ranges;
  source.SetBefore([&](const HttpRequest& request, const std::stop_token& stop) {
    HttpResponse response = source.Serve(request, stop);
    const std::string range = request.Header("range");
    if (range.empty()) return response;
    const std::scoped_lock lock(mutex);
    ranges.push_back(range);
    if (ranges.size() > 1) return response;
    const Slice all = std::get<Slice>(response.body);
    response.body = StreamedBody{all.bytes.size(), [all](BodySink& sink, const std::stop_token&) {
                                   const Status sent =
                                       sink.Write(all.bytes.first(kChunkBytes + 1000));
                                   return sent.ok() ? absl::UnavailableError("cut") : sent;
                                 }};
    return response;
  });

  const Result<MergeOutcome> outcome = Leader().Compute(job);

  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(outcome->root, RootOf(Expected(*layout_, updates_, kWeights, base_)));
  const std::uint64_t last = layout_->size() - 1;
  EXPECT_THAT(ranges, ::testing::ElementsAre(StrCat("bytes=0-", last),
                                             StrCat("bytes=", kChunkBytes, "-", last)));
}

// The owner of the run cannot go on with somebody and begins again and again: its run breaks off,
// and it says for whom it waits.
TEST_F(MergeTest, AnOwnerThatWaitsForAnotherIsNotBlamedForBreakingOff) {
  HoldBase();
  const MergeJob job = Close();
  ASSERT_TRUE(Leader().Compute(job).ok());
  Site& leader = Leader();
  SaysThatItMerges(leader, job);
  leader.board().SetWaitingFor(NodeName{"z"});
  std::atomic<int> runs = 0;
  leader.SetBefore([&](const HttpRequest& request, const std::stop_token& stop) {
    HttpResponse response = leader.Serve(request, stop);
    const bool breaks = request.path.starts_with("/merge/") && !request.Header("range").empty() &&
                        runs.fetch_add(1) < 5;
    if (breaks) response.body = Broken();
    return response;
  });

  const Result<MergeOutcome> outcome = Follower().Compute(job);

  ASSERT_TRUE(outcome.ok()) << outcome.status();
  EXPECT_EQ(runs.load(), 6);
}

TEST_F(MergeTest, AnOwnerThatBreaksOffAndWaitsForNobodyIsBlamed) {
  HoldBase();
  const MergeJob job = Close();
  ASSERT_TRUE(Leader().Compute(job).ok());
  Site& leader = Leader();
  SaysThatItMerges(leader, job);
  leader.SetBefore([&](const HttpRequest& request, const std::stop_token& stop) {
    HttpResponse response = leader.Serve(request, stop);
    if (request.path.starts_with("/merge/")) response.body = Broken();
    return response;
  });

  const std::vector<SourceFailure> failures = SourceFailuresOf(Follower().Compute(job).status());

  ASSERT_EQ(failures.size(), 1U);
  EXPECT_EQ(failures[0].node.value(), leader.name());
  EXPECT_EQ(failures[0].why, StallWhy::kRefused);
}

TEST_F(MergeTest, AMergeThatCannotGoOnSaysWithWhom) {
  HoldBase();
  const MergeJob job = Close();
  Site& source = Follower();
  source.arenas().update->mutable_blob()[5] ^= std::byte{1};
  Leader().board().SetProgress(Progress{}, clock_.Now());

  ASSERT_FALSE(Leader().Compute(job).ok());

  EXPECT_THAT(Leader().board().ProgressNow(clock_.Now())->waiting_for,
              ::testing::ElementsAre(NodeName{source.name()}));
}

TEST_F(MergeTest, AMergeThatIsGivenUpReturnsAtOnce) {
  HoldBase();
  const MergeJob job = Close();
  std::stop_source stop;
  Site& source = Follower();
  source.SetBefore([&](const HttpRequest& request, const std::stop_token& server_stop) {
    if (request.Header("range").empty()) return source.Serve(request, server_stop);
    stop.request_stop();  // Nothing comes any more, and nobody waits for it.
    Mailbox<char> nobody;
    static_cast<void>(nobody.Pop(server_stop, 60s));
    return TextResponse("");
  });

  const Result<MergeOutcome> outcome = Leader().Compute(job, stop.get_token());

  EXPECT_TRUE(absl::IsCancelled(outcome.status())) << outcome.status();
}

TEST_F(MergeTest, AnAuditThatIsGivenUpGivesUpTheMerge) {
  HoldBase();
  const MergeJob job = Close();
  std::stop_source stop;
  Site& leader = Leader();
  leader.SetBefore([&](const HttpRequest& request, const std::stop_token& server_stop) {
    // Of the leader's own update only auditors want a range.
    if (!request.path.starts_with("/v1/blobs/") || request.Header("range").empty())
      return leader.Serve(request, server_stop);
    stop.request_stop();
    Mailbox<char> nobody;
    static_cast<void>(nobody.Pop(server_stop, 60s));
    return TextResponse("");
  });
  const std::future<Result<MergeOutcome>> leads =
      std::async(std::launch::async, [&] { return leader.Compute(job); });

  const Result<MergeOutcome> outcome = Follower().Compute(job, stop.get_token());

  EXPECT_TRUE(absl::IsCancelled(outcome.status())) << outcome.status();
}

// --- who may have what, over the wire ---

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
