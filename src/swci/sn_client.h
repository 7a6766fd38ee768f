// SnClient: what an operator asks of an SN, as typed calls. The interface lives here, with its
// callers; HttpSnClient speaks docs/formats/http.md, tests bring a fake. What an SN answers is
// parsed once, strictly where we rely on it, and kept whole as `raw` for --json. One thread at a
// time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "crypto/json.h"
#include "http/client.h"
#include "protocol/events.h"

namespace starling {

struct NodeRow {
  std::string type;  // SENTINEL, SN, SL
  std::string name, host, uuid, parent, contract;
  std::uint64_t port = 0;
  std::optional<UtcTime> alive;  // last heard of
};
struct ContractNode {
  std::string name, kind, blob_url, spiffe_id;
  bool present = false, may_lead = false, checked_in = false, holder = false;
  std::uint64_t weight = 0;
};
struct WaitingView {
  std::vector<std::string> on;
  std::string what, next;
  UtcTime since;
  bool trouble = false;  // what is wrong with one node; `what` names it
};
struct ContractView {
  std::string name, phase, base, leader, final_root;
  std::int64_t instance = 0;
  std::uint64_t round = 0, attempt = 0, rounds_sealed = 0;
  std::vector<ContractNode> nodes;
  std::vector<std::string> participants;
  std::vector<WaitingView> waiting;
  Json rules;
  Json raw;
};
struct StatusView {
  std::string sn;
  std::int64_t end = -1;
  std::string head;
  std::uint64_t uptime_ms = 0;
  std::vector<ContractView> contracts;
  std::vector<WaitingView> troubles;  // of the SN itself
  Json raw;
};
struct DecodedEntry {
  std::int64_t position = 0;
  UtcTime time;
  std::string author, ignored;
  Json payload;
};

[[nodiscard]] Result<ContractView> ParseContractView(const Json& json);
[[nodiscard]] Result<NodeRow> ParseNodeRow(const Json& json);
[[nodiscard]] Result<StatusView> ParseStatusView(const Json& json);

class SnClient {
 public:
  virtual ~SnClient() = default;
  virtual Status IsUp() = 0;
  virtual Result<std::vector<ContractView>> Contracts() = 0;
  virtual Result<ContractView> Contract(const ContractName& name) = 0;
  virtual Result<std::vector<NodeRow>> Nodes() = 0;
  virtual Result<StatusView> GetStatus() = 0;
  // One page, decoded, from `from` on; empty at the end of the ledger.
  virtual Result<std::vector<DecodedEntry>> Entries(std::int64_t from) = 0;
  // Each answers the position of the entry it made.
  virtual Result<std::int64_t> Create(const ContractName& name, const Rules& rules) = 0;
  virtual Result<std::int64_t> Amend(const ContractName& name, std::uint64_t min_peers) = 0;
  virtual Result<std::int64_t> Reset(const ContractName& name) = 0;
  virtual Result<std::int64_t> Revoke(const ContractName& name, const NodeName& node) = 0;
};

class HttpSnClient final : public SnClient {
 public:
  // Borrows `http`. `sns` are tried in order while they do not answer; never empty.
  HttpSnClient(HttpClient& http, std::vector<Endpoint> sns, std::stop_token stop);
  Status IsUp() override;
  Result<std::vector<ContractView>> Contracts() override;
  Result<ContractView> Contract(const ContractName& name) override;
  Result<std::vector<NodeRow>> Nodes() override;
  Result<StatusView> GetStatus() override;
  Result<std::vector<DecodedEntry>> Entries(std::int64_t from) override;
  Result<std::int64_t> Create(const ContractName& name, const Rules& rules) override;
  Result<std::int64_t> Amend(const ContractName& name, std::uint64_t min_peers) override;
  Result<std::int64_t> Reset(const ContractName& name) override;
  Result<std::int64_t> Revoke(const ContractName& name, const NodeName& node) override;

 private:
  Result<Json> Ask(const ClientRequest& request);
  Result<std::int64_t> Tell(const std::string& target, const Json& body);

  HttpClient& http_;
  const std::vector<Endpoint> sns_;
  const std::stop_token stop_;
};

}  // namespace starling
