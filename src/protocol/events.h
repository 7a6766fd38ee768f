// Events: what an entry can say (docs/protocol.md, section 2). Parsed once, strictly, from an
// entry's payload. Values; any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "crypto/ed25519.h"
#include "crypto/json.h"
#include "protocol/ids.h"

namespace starling {

enum class FinishMode : std::uint8_t { kSnapshot, kActive, kInactive };

struct InitialLeader {
  friend bool operator==(const InitialLeader&, const InitialLeader&) = default;
};
struct InitialMerge {
  friend bool operator==(const InitialMerge&, const InitialMerge&) = default;
};
using Initial = std::variant<InitialLeader, InitialMerge, Digest>;  // "leader" | "merge" | a root

// The rules of a training. What is nullopt is open: the first enrolment fills it.
struct Rules {
  std::optional<std::uint64_t> min_peers;
  std::optional<std::string> merge;  // "mean"
  std::optional<Digest> schema;
  std::optional<std::uint64_t> size;           // bytes of a model
  std::optional<std::uint64_t> sync_interval;  // batches
  std::uint64_t merge_version = 1;
  std::uint64_t chunk = kChunkBytes;
  std::uint64_t witnesses = 2;
  std::uint64_t audit = 1;
  Initial initial = InitialLeader{};
  std::uint64_t weight_max = 100;
  std::map<NodeName, PublicKey> members;  // empty: anyone the SNs vouch for
  std::vector<std::string> admins;        // operator kids or SPIFFE IDs; empty: every operator
  std::vector<std::string>
      license_issuers;  // kept and replayed; leases come with the license server
  friend bool operator==(const Rules&, const Rules&) = default;
};
[[nodiscard]] Json RulesJson(const Rules& rules);
[[nodiscard]] Result<Rules> ParseRules(const Json& object);
// What differs in words ("sync_interval: 128 here, 100 there; schema: …"), "" when `stated` agrees
// with all that `fixed` has set. Only min_peers, merge, schema, size, sync_interval are stated by
// nodes. `amended`: min_peers is no longer compared.
[[nodiscard]] std::string RulesDifference(const Rules& fixed, const Rules& stated, bool amended);

// What a newcomer signs to enrol: JWS payload {type:"node-claim", contract, seq, seen, …}, signed
// by `key` itself.
struct NodeClaim {
  NodeName name;
  PublicKey key;
  std::string blob_url;  // https://host:port
  std::uint64_t weight = 1;
  bool may_lead = true;
  Rules rules;                       // stated rules
  std::optional<Position> instance;  // the instance the SL belongs to, if it has enrolled before
};
struct SnClaim {
  NodeName name;
  PublicKey key;
  std::string api_url;
};
// Who asked: an operator's signed claim (compact JWS), or the SPIFFE ID that the SN states.
struct OperatorClaim {
  std::string jws;  // one of the two is empty
  std::string spiffe_id;
};

struct SnJoined {
  std::string claim;  // compact JWS of an SnClaim; in entry 0 by the same key
  // Entry 0 only:
  std::uint64_t protocol = 0;
  std::string finality;                  // "embedded"
  std::vector<PublicKey> operator_keys;  // may be empty
};
struct ContractCreated {
  Rules rules;
  OperatorClaim claim;
};
struct ContractReset {
  OperatorClaim claim;
};
struct ContractAmended {
  std::uint64_t min_peers = 0;
  OperatorClaim claim;
};
struct NodeEnrolled {
  std::string claim;
  std::string spiffe_id;
};  // compact JWS of a NodeClaim; stated by the SN
struct NodeRevoked {
  NodeName name;
  OperatorClaim claim;
};
struct NodeAway {
  NodeName name;
  std::string why = {};  // for people, may be ""; at most kAwayWhyMax bytes
};
inline constexpr std::size_t kAwayWhyMax = 1000;
struct CheckinReport {  // for people; replay ignores it
  std::optional<double> norm, loss, metric, base_loss, base_metric;
  std::uint64_t train_ms = 0;
  std::uint64_t batches = 0;
};
struct CheckedIn {
  RoundId round;
  Digest update;
  std::optional<Digest> base;
  CheckinReport report;
};  // base none ("") in round 0
struct NodeFinished {
  FinishMode mode = FinishMode::kSnapshot;
  std::optional<Digest> update;
  CheckinReport report;
};
struct RoundClosed {
  RoundId round;
  AttemptId attempt;
  std::vector<NodeName> without;
};
struct Stalled {
  RoundId round;
  AttemptId attempt;
  Digest set;
  std::vector<NodeName> on;
  std::string why;
};
struct RoundReopened {
  RoundId round;
  AttemptId attempt;
  std::vector<NodeName> without;
};
struct MergedReport {
  std::uint64_t pull_ms = 0, merge_ms = 0, bytes = 0;
};
struct RoundMerged {
  RoundId round;
  AttemptId attempt;
  Digest set;
  Digest root;
  MergedReport report;
};

using Event = std::variant<SnJoined, ContractCreated, ContractReset, ContractAmended, NodeEnrolled,
                           NodeRevoked, NodeAway, CheckedIn, NodeFinished, RoundClosed, Stalled,
                           RoundReopened, RoundMerged>;
[[nodiscard]] std::string_view TypeOf(const Event& event);  // "round-closed"
[[nodiscard]] std::span<const std::string_view> EventTypes();

// One signed statement: the common members and the event.
struct Statement {
  ContractName contract;  // "" for sn-joined
  std::uint64_t seq = 0;
  Place seen;
  Event event;
};
// Any unknown or missing member, wrong type or limit is InvalidArgument; the report members are
// optional.
[[nodiscard]] Result<Statement> ParseStatement(const Json& payload);
[[nodiscard]] Json StatementJson(const Statement& statement);
[[nodiscard]] std::string SignStatement(const SigningKey& key,
                                        const Statement& statement);  // the compact JWS entry

struct SignedNodeClaim {
  ContractName contract;
  std::uint64_t seq = 0;
  Place seen;
  NodeClaim claim;
};
[[nodiscard]] std::string SignNodeClaim(const SigningKey& key, const SignedNodeClaim& claim);
[[nodiscard]] Result<SignedNodeClaim> ParseNodeClaim(
    std::string_view jws);  // checks the signature by the key inside
[[nodiscard]] std::string SignSnClaim(const SigningKey& key, const SnClaim& claim,
                                      std::uint64_t seq, const Place& seen);
struct SignedSnClaim {
  std::uint64_t seq = 0;
  Place seen;
  SnClaim claim;
};
[[nodiscard]] Result<SignedSnClaim> ParseSnClaim(std::string_view jws);  // likewise

// What an operator signs where entry 0 lists operator keys: payload {type:"operator-claim",
// contract, seq, seen, action: the event's type, and the members of the event that the operator
// asks for}. `event`: contract-created, -reset, -amended or node-revoked; its claim is not looked
// at.
[[nodiscard]] std::string SignOperatorClaim(const SigningKey& key, const ContractName& contract,
                                            const Event& event, std::uint64_t seq,
                                            const Place& seen);
// What such a claim must ask for: {action, …}. CHECKs that an operator may ask for `event`.
[[nodiscard]] Json OperatorAsks(const Event& event);

}  // namespace starling
