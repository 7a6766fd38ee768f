#include "sl/access.h"

#include "base/text.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

constexpr std::uint64_t kSize = 5 * kChunkBytes + 10;

SigningKey KeyOf(char fill) {
  return *SigningKey::FromSeed(Bytes(32, static_cast<std::byte>(fill)));
}

// A round of a, b and c that is being merged.
class AccessTest : public testing::Test {
 protected:
  AccessTest() {
    contract_.instance = Position{4};
    contract_.round = RoundId{2};
    contract_.phase = Phase::kMerging;
    contract_.base = HashOf(AsBytes("base"));
    contract_.rules.size = kSize;
    for (const auto& [name, key] : keys_) {
      Node node;
      node.name = NodeName{name};
      node.key = key.public_key();
      node.kid = key.kid();
      node.spiffe_id = StrCat("spiffe://t/", name, "/sl");
      contract_.nodes[node.name] = node;
      if (name != "late")
        contract_.members.push_back({node.name, NodeKind::kTrainer, HashOf(AsBytes(name)), 1});
    }
    contract_.set = SetHash(contract_.base, contract_.members);
    token_ = {keys_.at("a").kid(),
              HashOf(AsBytes("a")),
              0,
              kSize,
              UnixMs(now_) / 1000 + 30,
              contract_.instance,
              contract_.round,
              contract_.set};
    leader_ = LeaderOf(contract_).value();
    for (const auto& [name, key] : keys_) {
      if (name != leader_ && name != "late") other_ = name;
    }
  }
  Result<Asker> Check(const std::string& by, const GetToken& token) const {
    return CheckToken("Bearer " + SignGetToken(keys_.at(by), token),
                      {contract_, keys_.at("a").kid(), now_});
  }

  const std::map<std::string, SigningKey> keys_ = [] {
    std::map<std::string, SigningKey> keys;
    keys.emplace("a", KeyOf(1));
    keys.emplace("b", KeyOf(2));
    keys.emplace("c", KeyOf(3));
    keys.emplace("late", KeyOf(4));
    keys.emplace("stranger", KeyOf(5));
    return keys;
  }();
  const UtcTime now_ = FromUnixMs(1'700'000'000'000);
  Contract contract_;
  GetToken token_;
  std::string leader_, other_;
};

TEST_F(AccessTest, AMembersTokenIsAccepted) {
  const Result<Asker> asker = Check("b", token_);
  ASSERT_TRUE(asker.ok()) << asker.status();
  EXPECT_EQ(asker->name, NodeName{"b"});
}

TEST_F(AccessTest, TokensOfAnotherServerTimeRoundOrSetAreRefused) {
  GetToken token = token_;
  token.server = keys_.at("b").kid();
  EXPECT_FALSE(Check("b", token).ok());
  for (const std::int64_t exp : {UnixMs(now_) / 1000 - 31, UnixMs(now_) / 1000 + 91}) {
    token = token_;
    token.exp_unix_s = exp;
    EXPECT_EQ(StableCode(Check("b", token).status()), "not-for-you");
  }
  token = token_;
  token.round = RoundId{1};
  EXPECT_FALSE(Check("b", token).ok());
  contract_.phase = Phase::kCollecting;
  EXPECT_FALSE(Check("b", token_).ok());
}

// A round that was opened again has another set: who has read of it asks those who have not.
TEST_F(AccessTest, ATokenOfAnotherSetOfTheRoundIsEarlyNotForeign) {
  GetToken token = token_;
  token.set = Digest{};
  EXPECT_EQ(StableCode(Check("b", token).status()), "not-yet");
  contract_.round = RoundId{token_.round.value() + 1};
  EXPECT_EQ(StableCode(Check("b", token).status()), "not-for-you");
}

TEST_F(AccessTest, WhoTakesNoPartGetsNothing) {
  contract_.nodes.erase(NodeName{"stranger"});
  EXPECT_FALSE(Check("stranger", token_).ok());
  EXPECT_FALSE(Check("late", token_).ok());
  EXPECT_EQ(StableCode(CheckToken("", {contract_, keys_.at("a").kid(), now_}).status()),
            "not-for-you");
}

TEST_F(AccessTest, OnlyTheOwnerMayHaveItsRun) {
  EXPECT_TRUE(IsOwnRun(contract_, NodeName{leader_}, {0, kSize}));
  EXPECT_TRUE(IsOwnRun(contract_, NodeName{leader_}, {kChunkBytes, 2 * kChunkBytes}));
  EXPECT_FALSE(IsOwnRun(contract_, NodeName{leader_}, {0, kSize + 1}));
  EXPECT_FALSE(IsOwnRun(contract_, NodeName{other_}, {0, kSize}));
}

TEST_F(AccessTest, AnAuditorMayHaveExactlyItsChunk) {
  const Digest run_root = HashOf(AsBytes("leaves of the run"));
  const std::uint64_t chunk =
      AuditedChunk(run_root, contract_.set, NodeName{other_}, 0, {0, ChunkCount(kSize)});
  for (std::uint64_t each = 0; each < ChunkCount(kSize); ++each) {
    EXPECT_EQ(IsAuditedChunk(contract_, NodeName{other_}, 0, run_root, ChunkRange(kSize, each)),
              each == chunk);
  }
  EXPECT_FALSE(IsAuditedChunk(contract_, NodeName{other_}, 0, run_root, {0, kSize}));
  EXPECT_FALSE(IsAuditedChunk(contract_, NodeName{leader_}, 0, run_root, ChunkRange(kSize, chunk)));
}

TEST_F(AccessTest, MergedModelsAreForEnrolledIdentities) {
  EXPECT_TRUE(CheckEnrolled(&contract_, *SpiffeId::Parse("spiffe://t/b/sl")).ok());
  EXPECT_EQ(StableCode(CheckEnrolled(&contract_, *SpiffeId::Parse("spiffe://t/x/sl"))),
            "not-for-you");
  EXPECT_FALSE(CheckEnrolled(&contract_, std::nullopt).ok());
  EXPECT_FALSE(CheckEnrolled(nullptr, *SpiffeId::Parse("spiffe://t/b/sl")).ok());
}

}  // namespace
}  // namespace starling
