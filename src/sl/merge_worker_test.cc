#include "sl/merge_worker.h"

#include <atomic>
#include <future>
#include <set>

#include "base/mailbox.h"
#include "gmock/gmock.h"
#include "sl/merge_testing.h"
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

}  // namespace
}  // namespace starling
