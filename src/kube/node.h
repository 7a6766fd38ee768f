// One node on its way from a Pod to the overlay's objects: what the reader found, and what is built
// of it. Only for src/kube.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kube/draft.h"

namespace starling::kube {

inline constexpr std::string_view kClientFolder = "/opt/starling";  // sidecar: a volume
inline constexpr std::string_view kPythonPath = "PYTHONPATH";

struct NodeDraft {
  std::string name;
  bool learning = false;
  bool sidecar = false;  // learning: the SL stands beside a container with the user's framework
  bool legacy_token = false;
  bool spire_server = false;  // the overlay has one
  std::string service;        // by which others find it
  bool has_service = false;   // the input has it
  OrderedJson labels = OrderedJson::object();
  OrderedJson annotations = OrderedJson::object();
  OrderedJson pod = OrderedJson::object();        // kept fields of the pod
  OrderedJson container = OrderedJson::object();  // kept fields of the node's container
  std::string container_name;
  std::string image;                       // of ours
  std::string program_image;               // sidecar
  OrderedJson env = OrderedJson::array();  // of starling
  OrderedJson env_from = OrderedJson::array();
  OrderedJson program_env = OrderedJson::array();  // sidecar: of the training program
  std::vector<std::string> program_command;        // sidecar
  std::vector<std::string> arguments;
  OrderedJson devices = OrderedJson::object();  // limits such as nvidia.com/gpu
  OrderedJson mounts = OrderedJson::array();
  OrderedJson volumes = OrderedJson::array();
  OrderedJson init_containers = OrderedJson::array();
  OrderedJson containers = OrderedJson::array();  // beside the node's
  int port = 0;                                   // of the API, or of the blobs

  [[nodiscard]] std::string PortName() const { return learning ? "blobs" : "api"; }
  [[nodiscard]] bool HasVariable(std::string_view variable) const;  // in `env`
  [[nodiscard]] bool ProgramHasVariable(std::string_view variable) const;
};

// node_settings.cc
void ReadEnvironment(const Draft& draft, Node& env, NodeDraft* node);
void ReadArguments(const Draft& draft, Node& args, NodeDraft* node);
void ReadPorts(Node& ports, NodeDraft* node);
[[nodiscard]] int NodePort(const NodeDraft& node);

// node_objects.cc: the workload and what it needs beside it. What was put in that no field of the
// input asked for is added to `added`.
[[nodiscard]] std::vector<OrderedJson> NodeObjects(const NodeDraft& node,
                                                   std::vector<Addition>* added);
[[nodiscard]] OrderedJson NodeLabels(const NodeDraft& node);
[[nodiscard]] OrderedJson ContainerSecurity(bool read_only_root);

}  // namespace starling::kube
