// A small finished training made by hand: real signatures, a real ledger file, real updates and
// models. For the tests of src/tools.
#pragma once

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <optional>
#include <string>

#include "base/fs.h"
#include "base/text.h"
#include "gtest/gtest.h"
#include "ledger/ledger.h"
#include "protocol/replay.h"
#include "tensor/merge.h"

namespace starling {

class SmallTraining {
 public:
  explicit SmallTraining(const std::string& name)
      : directory(StrCat(testing::TempDir(), "starling_tools_", getpid(), "_", name)),
        layout(*Layout::Make({{"w", DType::kF32, {kFloats}}})) {
    std::filesystem::remove_all(directory);
    for (const char* folder :
         {"sn", "node-a/updates", "node-a/models", "node-b/updates", "node-b/models"}) {
      std::filesystem::create_directories(StrCat(directory, "/", folder));
    }
    ledger = *OpenEmbeddedLedger(directory + "/sn/ledger.db", clock);
  }

  // Two rounds by a (weight 1) and b (weight 3), then both finish.
  void Play() {
    Sn(SnJoined{SignSnClaim(sn_key_, {NodeName{"sn"}, sn_key_.public_key(), "https://localhost:1"},
                            0, {}),
                1,
                "embedded",
                {}},
       "");
    Rules rules;
    rules.min_peers = 2;
    Sn(ContractCreated{rules, {"", "spiffe://t/operator"}});
    Enrol("a", a_key_, 1);
    Enrol("b", b_key_, 3);
    for (std::uint64_t round = 0; round < 2; ++round) {
      std::map<std::string, Digest> roots;
      for (const auto& [node, key] :
           {std::pair<std::string, const SigningKey*>{"a", &a_key_}, {"b", &b_key_}}) {
        const Bytes update = Model(static_cast<float>(round * 10) + (node == "a" ? 1.0F : 2.0F));
        roots[node] = Keep(StrCat("node-", node, "/updates"), round, update);
        Sl(*key, CheckedIn{RoundId{round}, roots[node], contract().base, {}});
        last_update_[node] = update;
      }
      CloseAndVote();
    }
    Sl(a_key_,
       NodeFinished{FinishMode::kSnapshot, Keep("node-a/updates", 2, last_update_["a"]), {}});
    Sl(b_key_, NodeFinished{FinishMode::kInactive, std::nullopt, {}});
    CloseAndVote();
    ASSERT_EQ(contract().phase, Phase::kDone);
    ledger.reset();
  }

  const Contract& contract() const { return replay.state().contracts.at(ContractName{"t"}); }
  Bytes Model(float value) const {
    Bytes bytes(layout.size());
    std::memcpy(bytes.data(), layout.header().data(), layout.header().size());
    const std::vector<float> values(kFloats, value);
    std::memcpy(bytes.data() + layout.data_start(), values.data(), kFloats * sizeof(float));
    return bytes;
  }

  static constexpr std::uint64_t kFloats = 300'000;  // two chunks
  ManualClock clock;
  const std::string directory;
  const Layout layout;
  std::unique_ptr<Ledger> ledger;
  Replay replay;
  std::optional<Bytes> lie;  // what both seal as the model of round 0

 private:
  static SigningKey KeyOf(char fill) {
    return *SigningKey::FromSeed(Bytes(32, static_cast<std::byte>(fill)));
  }

  void Append(const std::string& entry) {
    ASSERT_TRUE(ledger->Append(std::vector<std::string>{entry}).ok());
    const Verdict verdict = replay.Apply(entry);
    ASSERT_TRUE(verdict.valid()) << verdict.type << ": " << verdict.reason;
    clock.Advance(1s);
  }
  void Sn(Event event, const std::string& name = "t") {
    Append(SignStatement(sn_key_, {ContractName{name}, ++seq_, replay.place(), std::move(event)}));
  }
  void Sl(const SigningKey& key, Event event) {
    Append(SignStatement(key, {ContractName{"t"}, ++seq_, replay.place(), std::move(event)}));
  }
  void Enrol(const std::string& name, const SigningKey& key, std::uint64_t weight) {
    NodeClaim claim;
    claim.name = NodeName{name};
    claim.key = key.public_key();
    claim.blob_url = "https://localhost:2";
    claim.weight = weight;
    claim.rules.schema = layout.schema();
    claim.rules.size = layout.size();
    Sn(NodeEnrolled{SignNodeClaim(key, {ContractName{"t"}, ++seq_, replay.place(), claim}),
                    "spiffe://t/sl"});
  }
  Digest Keep(const std::string& folder, std::uint64_t round, const Bytes& blob) {
    const LeafList leaves = LeavesOf(blob);
    const Digest root = RootOfLeaves(leaves);
    const std::string path =
        StrCat(directory, "/", folder, "/", round, "-", HexOf(root), ".safetensors");
    EXPECT_TRUE(WriteFileDurably(path, AsText(blob)).ok());
    EXPECT_TRUE(WriteFileDurably(path + ".leaves", AsText(EncodeLeaves(leaves))).ok());
    return root;
  }
  // M by the reference rule, from the models in memory; both vote for it.
  void CloseAndVote() {
    Sn(RoundClosed{contract().round, contract().attempt, {}});
    Bytes merged(layout.size());
    if (MergeKindOf(contract()) == MergeKind::kCopyOfLeader) {
      merged = last_update_[LeaderOf(contract()).value()];
    } else {
      std::vector<Bytes> updates;
      std::vector<std::uint64_t> weights;
      for (const Member& member : contract().members) {
        if (member.weight == 0) continue;
        updates.push_back(last_update_[member.name.value()]);
        weights.push_back(member.weight);
      }
      for (std::uint64_t chunk = 0; chunk < ChunkCount(layout.size()); ++chunk) {
        const ByteRange range = ChunkRange(layout.size(), chunk);
        std::vector<ByteSpan> parts;
        for (const Bytes& update : updates)
          parts.push_back(ByteSpan(update).subspan(range.begin, range.size()));
        ReferenceMean(layout, chunk, parts, weights, {},
                      MutableByteSpan(merged).subspan(range.begin, range.size()));
      }
    }
    if (lie && contract().round == RoundId{0}) merged = *lie;
    const RoundMerged vote{contract().round,
                           contract().attempt,
                           contract().set,
                           Keep("node-a/models", contract().round.value(), merged),
                           {}};
    Sl(a_key_, vote);
    Sl(b_key_, vote);
  }

  const SigningKey sn_key_ = KeyOf(1);
  const SigningKey a_key_ = KeyOf(2);
  const SigningKey b_key_ = KeyOf(3);
  std::uint64_t seq_ = 0;
  std::map<std::string, Bytes> last_update_;
};

}  // namespace starling
