// What the parts of the import share: the documents, whose they are, and the overlay as it grows.
// Only for src/kube. One thread.
#pragma once

#include <list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kube/importer.h"
#include "kube/manifest.h"

namespace starling::kube {

enum class Component : std::uint8_t {
  kNone,  // nobody's, or of several
  kNetworkNode,
  kLearningNode,
  kLicence,
  kSpireServer,
  kOperatorLine,
  kOther
};

struct Addition {
  Rule rule = Rule::kAddedName;
  std::string what;
  std::string detail;
};

struct Document {
  std::string file;
  Node* node = nullptr;  // in Draft::trees
  std::string prefix;    // "items[2]." in a List
  std::string kind;
  std::string name;
  Component component = Component::kNone;
  const Document* workload = nullptr;  // a Service's
  std::vector<Addition> added;

  [[nodiscard]] bool IsWorkload() const;
  // Of a workload: the pod's own part, and the metadata that its labels are in.
  [[nodiscard]] Node* PodSpec() const;
  [[nodiscard]] Node* PodMetadata() const;
  // Where the image of the workload's node is: its first container of Swarm Learning, else its
  // first one; null where there is none.
  [[nodiscard]] Node* MainContainer() const;
};

struct Draft {
  const ImportOptions& options;
  const SettingsLookup& settings;
  std::list<std::vector<Node>> trees;
  std::vector<Document> documents;
  std::string name_space;               // of all objects
  std::set<std::string> token_secrets;  // names
  std::vector<OrderedJson> shared;      // objects of no single node: volumes.yaml
  std::map<std::string, std::vector<OrderedJson>> node_files = {};  // by node: its objects
  std::map<std::string, Component> nodes = {};                      // by name
  std::string registry = {};  // of all images; "" until a node's image named one
  bool spire_server = false;
  OrderedJson spire_labels = OrderedJson::object();  // of its pod, by which others find it
  std::string trust_domain = {};                     // "" where the input names none
  // Images that the setting `registry` is put into: kind and name of the workload, containers.
  struct Images {
    std::string kind, name;
    std::vector<std::string> containers, init_containers;
  };
  std::vector<Images> registry_targets = {};
};

// The component by an image's name and what its variables say, for images that were derived.
[[nodiscard]] Component ComponentOf(const Node& container);
// "registry.example" of "registry.example/hpe_eval/swarm-learning/sn:0.3.0"; "" without a host.
[[nodiscard]] std::string RegistryOf(std::string_view image);
[[nodiscard]] std::string ImageName(std::string_view image);  // "sn"
[[nodiscard]] std::string LowerCase(std::string_view text);

// The metadata of a kept object: name, labels, annotations; marks the rest.
[[nodiscard]] OrderedJson ReadMetadata(Draft& draft, Node& metadata, Rule name_rule);

// relations.cc: whose each document is.
void FindRelations(Draft& draft);
// node_reader.cc: a node's Pod into its objects.
void ImportNode(Draft& draft, Document& document);
// objects.cc: everything else.
void ImportService(Draft& draft, Document& document);
void ImportObject(Draft& draft, Document& document);
// overlay.cc: the files, once everything was read.
[[nodiscard]] std::map<std::string, std::string> OverlayFiles(const Draft& draft);

}  // namespace starling::kube
