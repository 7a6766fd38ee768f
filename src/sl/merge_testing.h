// Sites that merge one round together, for the tests of the merge and of who may have what.
#pragma once

#include <future>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "sl/access.h"
#include "sl/merge_worker.h"
#include "sl/sl_testing.h"

namespace starling {

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

}  // namespace starling
