// Tables for people: lines of text from what an SN answers. Pure; any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "swci/sn_client.h"

namespace starling {

// Columns padded to their widest cell, two blanks between; the first row is the header.
[[nodiscard]] std::vector<std::string> TableLines(
    const std::vector<std::vector<std::string>>& rows);

// LIST NODES: HPE's header and comma-separated rows.
[[nodiscard]] std::vector<std::string> NodeLines(const std::vector<NodeRow>& nodes);
[[nodiscard]] std::vector<std::string> ContractInfoLines(const ContractView& contract);
[[nodiscard]] std::vector<std::string> ContractStatusLines(const ContractView& contract);

[[nodiscard]] std::vector<std::string> TrainingListLines(
    const std::vector<ContractView>& contracts);
[[nodiscard]] std::vector<std::string> TrainingShowLines(const ContractView& contract);
[[nodiscard]] std::vector<std::string> StatusLines(const StatusView& status, UtcTime now);
[[nodiscard]] std::string AgeText(Duration age);  // "12 s", "3 min", "2 h"

// PERFDATA: per learning node its newest reported loss and metric, who merged last, and how much
// was trained. Programs report batches, not epochs, so the columns of HPE's that nobody knows hold
// a dash.
class PerfTable {
 public:
  PerfTable(const ContractView& contract, const std::vector<NodeRow>& nodes);
  void Add(const DecodedEntry& entry);
  [[nodiscard]] std::vector<std::string> Lines() const;

 private:
  struct Row {
    std::string uid;
    std::optional<double> loss, metric;
    std::uint64_t rounds = 0, batches = 0;
  };
  std::string contract_;
  std::int64_t instance_;
  std::string leader_;
  std::map<std::string, Row> rows_;
};

}  // namespace starling
