#include "identity/join_state.h"

#include <sys/stat.h>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gmock/gmock.h"
#include "identity/certificate.h"
#include "identity/dev_authority.h"
#include "identity/live_source.h"

namespace starling {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr UtcTime kNow{std::chrono::milliseconds{1'700'000'000'000}};

JoinState State(const std::string& path = "/spire/agent/join_token/t-1") {
  const DevAuthority authority = DevAuthority::InMemory("a", kNow).value();
  DevAuthority::Request request;
  request.path = path;
  request.not_before = kNow;
  request.not_after = kNow + std::chrono::hours(1);
  return {.trust_domain = "a",
          .token_hash = TokenHash("t-1"),
          .agent = authority.Issue(request).value(),
          .bundle = authority.bundle()};
}

TEST(JoinState, ComesBackAsItWasWritten) {
  const ScratchDirectory folder;
  const std::string path = JoinStatePath(folder.path());
  const JoinState state = State();
  ASSERT_TRUE(WriteJoinState(state, path).ok());
  const JoinState read = ReadJoinState(path).value();
  EXPECT_EQ(read.trust_domain, "a");
  EXPECT_EQ(read.token_hash, TokenHash("t-1"));
  EXPECT_EQ(read.agent->id, state.agent->id);
  EXPECT_EQ(read.agent->not_after, state.agent->not_after);
  EXPECT_EQ(KeyPem(*read.agent->key).value(), KeyPem(*state.agent->key).value());
  EXPECT_TRUE(SameRoots(read.bundle, state.bundle));
}

TEST(JoinState, NobodyElseMayReadIt) {
  const ScratchDirectory folder;
  const std::string path = JoinStatePath(folder.path());
  const mode_t before = umask(0);
  ASSERT_TRUE(WriteFileDurably(path, "an older one, open to all", 0666).ok());
  ASSERT_TRUE(WriteJoinState(State(), path).ok());
  umask(before);
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
}

TEST(JoinState, WhatCannotBeUsedIsNamedAndShowsNoSecret) {
  const ScratchDirectory folder;
  const std::string path = JoinStatePath(folder.path());
  EXPECT_TRUE(absl::IsNotFound(ReadJoinState(path).status()));
  ASSERT_TRUE(WriteJoinState(State(), path).ok());
  const std::string good = ReadFile(path).value();
  JoinState mixed = State();
  auto agent = std::make_shared<Svid>(*mixed.agent);
  agent->key = State().agent->key;
  mixed.agent = agent;
  JoinState workload = State("/swarm/sl");
  std::vector<std::string> broken = {"", "{", "[]", "{}", good.substr(0, good.size() / 2)};
  for (const JoinState& state : {mixed, workload}) {
    ASSERT_TRUE(WriteJoinState(state, path).ok());
    broken.push_back(ReadFile(path).value());
  }
  for (const std::string& text : broken) {
    ASSERT_TRUE(WriteFileDurably(path, text).ok());
    const Status status = ReadJoinState(path).status();
    EXPECT_EQ(StableCode(status), "join-state-broken") << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("PRIVATE")));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("t-1")));
  }
}

}  // namespace
}  // namespace starling
