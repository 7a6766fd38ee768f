// Turns manifests in the style of HPE Swarm Learning 0.3 (bare Pods, join tokens fetched by an init
// container, NodePorts) into a kustomize overlay over Starling's own base, and says of every leaf
// of the input what became of it. Pure: text in, text out, the same for the same input; any thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "crypto/json.h"
#include "kube/rules.h"

namespace starling::kube {

// What the command line of a node knows of a variable or an option.
struct KnownSetting {
  std::string name;     // ours, "sn-ip"
  std::string meaning;  // without effect: the line that says so
  bool effect = true;
  bool toggle = false;  // an option without a value
};
struct SettingsLookup {
  // `learning`: of starling sl, else of starling sn. Empty where there is no such thing, or where
  // it is refused for now.
  std::function<std::optional<KnownSetting>(bool learning, std::string_view variable)> variable;
  std::function<std::optional<KnownSetting>(bool learning, std::string_view option)> option;
};

struct ImportOptions {
  std::string base = "../deploy/kubernetes/base";  // as seen from the overlay
  bool legacy_token = false;  // keeps the init container that fetches a token, and its rights
};
struct InputFile {
  std::string name;  // as the report calls it
  std::string text;
};

struct ReportLine {
  std::string file;
  int line = 0;        // 0: of something that was added
  std::string object;  // "Pod sl-node01"
  std::string path;    // "spec.containers[0].env[1].value"; of something added: what
  Rule rule = Rule::kFieldUnknown;
  std::string target, detail;
};
struct Import {
  std::map<std::string, std::string> files;  // of the overlay: name and text
  std::vector<ReportLine> lines;             // in the order of the input
};

// InvalidArgument, with file, line and column, where a file is no manifest, where two objects are
// the same, or where no Pod of Swarm Learning is among them.
[[nodiscard]] Result<Import> ImportManifests(const std::vector<InputFile>& inputs,
                                             const ImportOptions& options,
                                             const SettingsLookup& settings);

// One line a leaf, one line for what was added, and a last line that counts.
[[nodiscard]] std::string ReportText(const Import& import);
[[nodiscard]] Json ReportJson(const Import& import);

}  // namespace starling::kube
