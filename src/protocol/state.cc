#include "protocol/state.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "protocol/fields.h"

namespace starling {

std::string_view PhaseName(Phase phase) {
  constexpr std::string_view kNames[] = {"collecting", "merging", "done"};
  return kNames[static_cast<std::size_t>(phase)];
}

std::string_view KindName(NodeKind kind) {
  constexpr std::string_view kNames[] = {"trainer", "snapshot", "active", "inactive"};
  return kNames[static_cast<std::size_t>(kind)];
}

const Node* Contract::Find(const NodeName& node) const {
  const auto it = nodes.find(node);
  return it == nodes.end() ? nullptr : &it->second;
}

const Node* Contract::FindKid(const std::string& kid) const {
  for (const auto& [node_name, node] : nodes) {
    if (node.kid == kid) return &node;
  }
  return nullptr;
}

const Member* Contract::FindMember(const NodeName& node) const {
  const auto it = std::find_if(members.begin(), members.end(),
                               [&](const Member& member) { return member.name == node; });
  return it == members.end() ? nullptr : &*it;
}

std::string MembersJson(const std::vector<Member>& members) {
  Json list = Json::array();
  for (const Member& member : members) {
    list.push_back({{"kind", KindName(member.kind)},
                    {"name", member.name.value()},
                    {"update", fields::RootOrEmpty(member.update)},
                    {"weight", member.weight}});
  }
  return CanonicalJson(list);
}

Digest SetHash(const std::optional<Digest>& base, const std::vector<Member>& members) {
  return PartsHash().Add(fields::RootOrEmpty(base)).Add(MembersJson(members)).Finish();
}

std::vector<NodeName> OwnersOf(const Contract& contract) {
  struct Candidate {
    Digest rank;
    NodeName name;
  };
  std::vector<Candidate> candidates;
  const auto collect = [&](bool all) {
    for (const Member& member : contract.members) {
      if (!all && !contract.leaders.contains(member.name)) continue;
      candidates.push_back({PartsHash()
                                .Add(static_cast<std::uint64_t>(contract.instance.value()))
                                .Add(contract.round.value())
                                .Add(contract.attempt.value())
                                .Add(member.name.value())
                                .Finish(),
                            member.name});
    }
  };
  collect(false);
  if (candidates.empty()) collect(true);
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.rank > b.rank; });
  std::vector<NodeName> owners;
  for (std::size_t i = 0; i < std::min(candidates.size(), kOwnersMax); ++i)
    owners.push_back(candidates[i].name);
  return owners;
}

NodeName LeaderOf(const Contract& contract) {
  const std::vector<NodeName> owners = OwnersOf(contract);
  CHECK(!owners.empty());
  return owners.front();
}

ChunkRun RunOfOwner(std::uint64_t chunks, std::uint64_t owners, std::uint64_t index) {
  CHECK(index < owners);
  return {index * chunks / owners, (index + 1) * chunks / owners};
}

MergeKind MergeKindOf(const Contract& contract) {
  const bool all_zero = std::all_of(contract.members.begin(), contract.members.end(),
                                    [](const Member& member) { return member.weight == 0; });
  if (all_zero && contract.base) return MergeKind::kBase;
  if (!contract.base && std::holds_alternative<InitialLeader>(contract.rules.initial))
    return MergeKind::kCopyOfLeader;
  return MergeKind::kMean;
}

std::uint64_t AuditedChunk(const Digest& run_leaves_root, const Digest& set,
                           const NodeName& auditor, std::uint64_t j, ChunkRun run) {
  CHECK(run.end > run.begin);
  const Digest hash =
      PartsHash().Add(run_leaves_root).Add(set).Add(auditor.value()).Add(j).Finish();
  return run.begin + ReadU64(hash.span().first(8)) % (run.end - run.begin);
}

}  // namespace starling
