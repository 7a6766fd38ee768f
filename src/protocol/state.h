// The state that a ledger's entries make (docs/protocol.md, section 2). Written by Replay only;
// plain values, ordered containers.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/events.h"
#include "protocol/sealed_roots.h"

namespace starling {

enum class Phase : std::uint8_t { kCollecting, kMerging, kDone };
enum class NodeKind : std::uint8_t { kTrainer, kSnapshot, kActive, kInactive };
[[nodiscard]] std::string_view PhaseName(Phase phase);
[[nodiscard]] std::string_view KindName(NodeKind kind);

struct Node {
  NodeName name;
  PublicKey key;
  std::string kid;  // Thumbprint(key)
  std::string blob_url;
  std::string spiffe_id;  // as the SN stated it
  std::uint64_t weight = 1;
  bool may_lead = true;
  bool present = false;
  NodeKind kind = NodeKind::kTrainer;
  std::optional<Digest> snapshot;  // kind snapshot: the update it keeps offering
  std::optional<Digest> checkin;
  std::uint64_t train_ms = 0;  // of its newest check-in: for the SNs' choices, no part of the state
  std::string away_why;        // why it is away, where somebody said: for people, no part either
};

// One member of P, frozen at the close. `update` is none for an inactive node.
struct Member {
  NodeName name;
  NodeKind kind = NodeKind::kTrainer;
  std::optional<Digest> update;
  std::uint64_t weight = 0;
  friend bool operator==(const Member&, const Member&) = default;
};

struct Contract {
  ContractName name;
  Position instance;
  Rules rules;
  bool amended = false;  // min_peers was changed by an operator
  RoundId round{0};
  AttemptId attempt{0};
  Phase phase = Phase::kCollecting;
  std::optional<Digest> base;  // none in round 0
  SealedRoots roots;
  std::vector<Member> members;  // P, sorted by name; empty while collecting
  std::set<NodeName> leaders;   // names of P that may lead, frozen with it: a node that enrols anew
                                // changes no schedule
  Digest set{};                 // H(base, P) while merging
  std::map<NodeName, Digest> witness;
  std::set<NodeName> grounds;
  std::map<NodeName, std::vector<NodeName>> stalls;  // of this attempt: who has accused whom
  // What the SNs' choices remember of this round's attempts.
  std::map<NodeName, std::uint64_t> removed;        // how often it was reopened without this node
  std::set<NodeName> lone_accusers;                 // whose word alone has removed somebody
  std::map<NodeName, std::set<NodeName>> accusers;  // of earlier attempts: accused, by whom
  std::map<NodeName, Node> nodes;
  bool someone_finished = false;
  std::set<std::string> revoked_kids;  // dead keys; a reset keeps them
  // The newest sealed round: who took part, and who is known to hold its root.
  std::optional<RoundId> sealed_round;
  std::vector<Member> sealed_members;
  std::set<NodeName> holders;

  [[nodiscard]] const Node* Find(const NodeName& name) const;
  [[nodiscard]] const Node* FindKid(const std::string& kid) const;
  [[nodiscard]] const Member* FindMember(const NodeName& name) const;  // in P
};

struct SnInfo {
  NodeName name;
  PublicKey key;
  std::string kid;
  std::string api_url;
};

struct LedgerState {
  std::uint64_t protocol = 0;
  std::string finality;
  std::vector<PublicKey> operator_keys;
  std::map<NodeName, SnInfo> sns;
  std::map<ContractName, Contract> contracts;
  std::map<std::string, std::uint64_t> last_seq;  // kid → seq; never forgotten
};

// The set hash H(base, P): base as the text "sha256:…" or "", P as canonical JSON
// [{"kind","name","update","weight"}…].
[[nodiscard]] std::string MembersJson(const std::vector<Member>& members);
[[nodiscard]] Digest SetHash(const std::optional<Digest>& base, const std::vector<Member>& members);

// The merge schedule, derived (section 3.2): owners in order of H(instance, round, attempt, name),
// highest first, among P's may_lead nodes (all of P if none may). kOwnersMax bounds k; sharding
// raises it.
inline constexpr std::size_t kOwnersMax = 1;
[[nodiscard]] std::vector<NodeName> OwnersOf(const Contract& contract);
[[nodiscard]] NodeName LeaderOf(const Contract& contract);  // the first owner; CHECKs merging
struct ChunkRun {
  std::uint64_t begin = 0, end = 0;
};  // chunk numbers [begin, end)
[[nodiscard]] ChunkRun RunOfOwner(std::uint64_t chunks, std::uint64_t owners, std::uint64_t index);
// How M is made: a copy of the first owner's update (round 0, initial leader), the base (all
// weights 0), or the mean of P.
enum class MergeKind : std::uint8_t { kMean, kCopyOfLeader, kBase };
[[nodiscard]] MergeKind MergeKindOf(const Contract& contract);
// The audited chunk (section 9): H(leaf-list root of the run, set, auditor, j) mod the run's
// chunks, plus the run's begin.
[[nodiscard]] std::uint64_t AuditedChunk(const Digest& run_leaves_root, const Digest& set,
                                         const NodeName& auditor, std::uint64_t j, ChunkRun run);

}  // namespace starling
