// FakeSnClient: an SN in memory, for tests of the operator's interface. It answers through the real
// parsers, as an SN would over the wire.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "swci/sn_client.h"

namespace starling {

// What several clients of one fake network share.
struct FakeSn {
  bool up = true;
  int asked_up = 0;
  std::map<std::string, Json> contracts;
  Json nodes = Json::array();
  std::vector<DecodedEntry> entries;
  std::vector<std::string> said;  // "create t", "reset t", …

  static Json ContractJson(const std::string& name) {
    return {{"name", name},
            {"instance", 1},
            {"round", 0},
            {"attempt", 0},
            {"phase", "collecting"},
            {"base", ""},
            {"leader", ""},
            {"final_root", ""},
            {"rounds_sealed", 0},
            {"participants", Json::array()},
            {"nodes", Json::array()},
            {"waiting", Json::array()},
            {"rules", {{"witnesses", 2}}}};
  }
  static Json ContractNodeJson(const std::string& name, bool holder) {
    return {{"name", name},
            {"kind", "trainer"},
            {"present", true},
            {"weight", 1},
            {"may_lead", true},
            {"checked_in", false},
            {"holder", holder},
            {"blob_url", StrCat("https://", name, ":30305")},
            {"spiffe_id", "spiffe://test/swarm/sl"}};
  }
};

class FakeSnClient final : public SnClient {
 public:
  explicit FakeSnClient(FakeSn& sn) : sn_(sn) {}
  Status IsUp() override {
    ++sn_.asked_up;
    return sn_.up ? absl::OkStatus() : absl::UnavailableError("connection refused");
  }
  Result<std::vector<ContractView>> Contracts() override {
    std::vector<ContractView> out;
    for (const auto& [name, json] : sn_.contracts) {
      ASSIGN_OR_RETURN(ContractView view, ParseContractView(json));
      out.push_back(std::move(view));
    }
    return out;
  }
  Result<ContractView> Contract(const ContractName& name) override {
    const auto found = sn_.contracts.find(name.value());
    if (found == sn_.contracts.end())
      return absl::NotFoundError(StrCat("no training \"", name.value(), "\" here"));
    return ParseContractView(found->second);
  }
  Result<std::vector<NodeRow>> Nodes() override {
    std::vector<NodeRow> out;
    for (const Json& json : sn_.nodes) {
      ASSIGN_OR_RETURN(NodeRow row, ParseNodeRow(json));
      out.push_back(std::move(row));
    }
    return out;
  }
  Result<StatusView> GetStatus() override {
    Json contracts = Json::array();
    for (const auto& [name, json] : sn_.contracts) contracts.push_back(json);
    return ParseStatusView({{"sn", "sn"},
                            {"end", {{"position", 4}, {"head", std::string(64, 'a')}}},
                            {"uptime_ms", 61000},
                            {"contracts", std::move(contracts)}});
  }
  Result<std::vector<DecodedEntry>> Entries(std::int64_t from) override {
    std::vector<DecodedEntry> out;
    for (const DecodedEntry& entry : sn_.entries) {
      if (entry.position >= from && out.size() < 2)
        out.push_back(entry);  // Small pages, so that callers must go on.
    }
    return out;
  }
  Result<std::int64_t> Create(const ContractName& name, const Rules& rules) override {
    if (sn_.contracts.contains(name.value())) return absl::AlreadyExistsError("it exists");
    sn_.contracts[name.value()] = FakeSn::ContractJson(name.value());
    sn_.contracts[name.value()]["rules"] = RulesJson(rules);
    return Said(StrCat("create ", name.value()));
  }
  Result<std::int64_t> Amend(const ContractName& name, std::uint64_t min_peers) override {
    return Said(StrCat("amend ", name.value(), " ", min_peers));
  }
  Result<std::int64_t> Reset(const ContractName& name) override {
    if (!sn_.contracts.contains(name.value())) return absl::NotFoundError("no such training");
    return Said(StrCat("reset ", name.value()));
  }
  Result<std::int64_t> Revoke(const ContractName& name, const NodeName& node) override {
    return Said(StrCat("revoke ", name.value(), " ", node.value()));
  }

 private:
  std::int64_t Said(std::string what) {
    sn_.said.push_back(std::move(what));
    return static_cast<std::int64_t>(sn_.said.size());
  }
  FakeSn& sn_;
};

}  // namespace starling
