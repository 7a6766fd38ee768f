// What the tests of the Workload API's source have in common. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "base/scratch_testing.h"
#include "gtest/gtest.h"
#include "identity/certificate_testing.h"
#include "identity/spiffe/comes_testing.h"
#include "identity/spiffe/workload_source.h"
#include "identity/spiffe/workload_testing.h"

namespace starling {

using testing::Comes;
using testing::kHanging;

#define EXPECT_HAS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)

class WorkloadSourceTest : public ::testing::Test {
 protected:
  [[nodiscard]] WorkloadOptions Options() const {
    return {.address = "unix://" + path_,
            .choice = {.paths = {"*/sl"}, .hint = ""},
            .retry_min = std::chrono::milliseconds(5),
            .retry_max = std::chrono::milliseconds(40)};
  }
  void StartSource() { StartSource(Options()); }
  void StartSource(const WorkloadOptions& options) {
    auto source = StartWorkloadSource(options, clock_, Log());
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = *std::move(source);
  }
  void StartWithAState() {
    api_.Push({testing::Fields(ca_)});
    StartSource();
    ASSERT_TRUE(source_->AwaitIdentity(kHanging, {}).ok());
  }
  [[nodiscard]] std::shared_ptr<const IdentityState> State() const { return source_->Current(); }
  [[nodiscard]] std::string Id() const {
    const auto state = State();
    return state->svid == nullptr ? "" : state->svid->id.text();
  }
  [[nodiscard]] bool Well() const { return source_->Report().trouble.ok(); }
  [[nodiscard]] std::string Trouble() const {
    return Well() ? "" : ErrorLine(source_->Report().trouble, "identity");
  }
  [[nodiscard]] bool TroubleComes(const std::string& part) const {
    return Comes([&] { return Trouble().find(part) != std::string::npos; });
  }
  [[nodiscard]] bool UpdatesCome(std::uint64_t count) const {
    return Comes([&] { return source_->Report().updates >= count; });
  }

  const ScratchDirectory scratch_;
  const std::string path_ = scratch_.File("agent.sock");
  ManualClock clock_{testing::kNow};
  const testing::Ca ca_{"a"};
  testing::FakeWorkloadApi api_{"unix:" + path_};
  std::unique_ptr<LiveSource> source_;
};

}  // namespace starling
