// Story: a ledger told line by line, for tests. Keys come from names, so a story has the same bytes
// on every machine. Each verb appends one entry and answers its verdict: "" or the reason why it is
// ignored. One thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "protocol/replay.h"

namespace starling {

using Names = std::vector<std::string>;

// A root for tests, named by a word: HashOf(word).
[[nodiscard]] Digest RootNamed(std::string_view word);
[[nodiscard]] SigningKey KeyNamed(std::string_view name);
[[nodiscard]] std::vector<NodeName> NodeNames(const Names& names);

class Story {
 public:
  // Entry 0 by the SN "sn". Operators listed in entry 0 sign their claims; `seed` makes other keys.
  explicit Story(const Names& operators = {}, std::string seed = "");

  // The lowest verb: an entry by `author` (an SN's or a node's name), seen at the newest place.
  std::string Say(const std::string& author, Event event);
  std::string Append(const std::string& entry);  // any bytes
  // The entry that Say would append.
  [[nodiscard]] std::string Sign(const std::string& author, Event event);
  [[nodiscard]] std::string SignAt(const std::string& author, Event event, std::uint64_t seq,
                                   const Place& seen) const;

  std::string Create(const Rules& rules = {});
  // `change` may spoil or adjust the claim before it is signed.
  std::string Enrol(const std::string& name,
                    const std::function<void(SignedNodeClaim&)>& change = {});
  std::string CheckIn(const std::string& name, const std::string& update);  // on the present base
  std::string Finish(const std::string& name, FinishMode mode, const std::string& update = "");
  std::string Close(const Names& without = {});
  std::string Merge(const std::string& name, const std::string& root);
  std::string Stall(const std::string& name, const Names& on);
  std::string Reopen(const Names& without);
  std::string Away(const std::string& author, const std::string& name);
  std::string Hold(const std::string& name, std::uint64_t round, const std::string& root);
  // A whole round: check-ins "<name><round>", close, and everybody's vote for "m<round>".
  void Round(const Names& trainers);
  // Created, with those nodes enrolled.
  void Begin(const Names& nodes, const Rules& rules = {});

  [[nodiscard]] const Contract& contract() const { return replay.state().contracts.at(training); }
  [[nodiscard]] const Node& node(const std::string& name) const {
    return contract().nodes.at(NodeName{name});
  }
  [[nodiscard]] const SigningKey& key(const std::string& name) const;
  [[nodiscard]] std::uint64_t NextSeq(const std::string& name) const;
  // By an operator: as the SN states it, or signed where the ledger lists keys.
  [[nodiscard]] OperatorClaim ClaimBy(const std::string& who, const Event& event) const;
  [[nodiscard]] NodeEnrolled EnrolmentOf(
      const std::string& name, const std::function<void(SignedNodeClaim&)>& change = {}) const;

  // The state in a few words, for golden scripts:
  // "round 1 collecting; a:u1 b: c(away):; P=; votes=; grounds=; holders=a b".
  [[nodiscard]] std::string Text() const;

  ContractName training{"t"};
  Replay replay;
  std::vector<std::string> entries;
  std::vector<std::string> reasons;  // one an entry

 private:
  bool operators_listed_;
  std::string seed_;
  mutable std::map<std::string, SigningKey> keys_;
};

// The rules that every node of a story states.
[[nodiscard]] Rules StatedRules();

}  // namespace starling
