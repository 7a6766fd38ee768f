// What the tests of `starling kube import` share: small manifests, and looks at what they become.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/fs.h"
#include "base/text.h"
#include "gtest/gtest.h"
#include "kube_import.h"
#include "yaml-cpp/yaml.h"

namespace starling {

using kube::Import;
using kube::ImportManifests;
using kube::ImportOptions;
using kube::InputFile;
using kube::ReportLine;

inline constexpr std::string_view kLegacy = "tests/kubernetes/legacy";
inline constexpr std::string_view kBase = "../../../../deploy/kubernetes/base";
inline constexpr std::string_view kNames[] = {
    "apls", "network-node-sentinel", "network-node01", "sl-node01", "sl-node02", "spire-server"};

inline std::vector<InputFile> SixManifests() {
  std::vector<InputFile> out;
  for (const std::string_view name : kNames) {
    const auto text = ReadFile(StrCat(kLegacy, "/", name, ".yaml"));
    EXPECT_TRUE(text.ok()) << text.status();
    out.push_back({StrCat(name, ".yaml"), text.value_or("")});
  }
  return out;
}

inline Import ImportOf(const std::vector<InputFile>& inputs, const ImportOptions& options = {}) {
  auto import = ImportManifests(inputs, options, SettingsForImport());
  EXPECT_TRUE(import.ok()) << import.status();
  return import.ok() ? *std::move(import) : Import();
}

// A node's Pod with `container` and `pod` as further fields, in flow style.
inline Import PodOf(const std::string& image, const std::string& container,
                    const std::string& pod = "", const ImportOptions& options = {}) {
  return ImportOf({{"a.yaml", StrCat("apiVersion: v1\nkind: Pod\nmetadata: {name: n}\nspec: {",
                                     "containers: [{name: c, image: ", image, ", ", container,
                                     "}], ", pod, "}\n")}},
                  options);
}

// The rule of the line of `path`; "" where there is none.
inline std::string RuleOf(const Import& import, std::string_view path) {
  for (const ReportLine& line : import.lines) {
    if (line.path == path) return std::string(kube::TextOf(line.rule).id);
  }
  return "";
}

inline YAML::Node WorkloadOf(const Import& import) {
  return YAML::LoadAll(import.files.at("n.yaml"))[0];
}
inline YAML::Node PodSpecOf(const Import& import) {
  return WorkloadOf(import)["spec"]["template"]["spec"];
}
inline YAML::Node ContainerOf(const Import& import) { return PodSpecOf(import)["containers"][0]; }

inline std::string VariableOf(const YAML::Node& container, const std::string& name) {
  for (const auto& item : container["env"]) {
    if (item["name"].as<std::string>() == name)
      return item["value"] ? item["value"].as<std::string>() : "from elsewhere";
  }
  return "absent";
}

inline std::vector<std::string> TextsOf(const YAML::Node& list) {
  std::vector<std::string> out;
  for (const auto& item : list) out.push_back(item.as<std::string>());
  return out;
}

}  // namespace starling
