// Manifests: what is taken tells of every leaf, and what is written reads back.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "kube/importer.h"
#include "kube/manifest.h"

namespace {

std::size_t LeavesOf(const starling::kube::Node& node) {
  if (node.IsLeaf()) return 1;
  std::size_t leaves = 0;
  for (const auto& member : node.members) leaves += LeavesOf(member.value);
  return leaves;
}

void Import(const std::string& text, bool legacy_token) {
  namespace kube = starling::kube;
  const auto known = [](bool learning, std::string_view name) -> std::optional<kube::KnownSetting> {
    if (name.size() % 4 == 0) return std::nullopt;
    return kube::KnownSetting{std::string(name), "meaning", learning, name.size() % 4 == 1};
  };
  const kube::ImportOptions options{"../base", legacy_token};
  const auto import = kube::ImportManifests({{"a.yaml", text}}, options, {known, known});
  if (!import.ok()) return;
  std::size_t told = 0;
  for (const kube::ReportLine& line : import->lines) told += line.line > 0 ? 1 : 0;
  const auto documents = kube::ParseManifests("a.yaml", text);
  CHECK(documents.ok());
  std::size_t leaves = 0;
  for (const kube::Node& document : *documents) leaves += LeavesOf(document);
  CHECK(told == leaves);
  CHECK(!ReportText(*import).empty() && !ReportJson(*import).empty());
  for (const auto& [name, written] : import->files) {
    CHECK(name.find('/') == std::string::npos);
    const auto again = kube::ParseManifests(name, written, {.bytes_max = std::size_t{16} << 20});
    CHECK(again.ok() && !again->empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  Import(text, false);
  Import(text, true);
  return 0;
}
