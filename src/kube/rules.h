// What `starling kube import` does with each kind of field: one table, from which the report takes
// its words and docs/kubernetes-import.md its rows. Constants; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace starling::kube {

enum class Action : std::uint8_t { kKept, kRenamed, kChanged, kDropped, kAdded };
[[nodiscard]] std::string_view ActionName(Action action);

enum class Rule : std::uint8_t {
  // Every object.
  kKind,
  kName,
  kLabels,
  kLabelOurs,
  kNamespace,
  kNamespaceOther,
  kClusterField,
  kList,
  kFieldUnknown,
  // Pods.
  kWorkloadKind,
  kWorkloadField,
  kContainerName,
  kImage,
  kImageProgram,
  kPull,
  kCommand,
  kCommandKept,
  kTerminal,
  kPodKept,
  kRestart,
  kHostAccess,
  kSecurity,
  kResources,
  kDevice,
  kProbe,
  kInit,
  // Environment and arguments.
  kEnvSetting,
  kEnvAccepted,
  kEnvProgram,
  kEnvPath,
  kEnvRenamed,
  kEnvToken,
  kEnvTokenKept,
  kEnvUnknown,
  kEnvFrom,
  kProgramCommand,
  kArgument,
  kArgumentToken,
  kArgumentTokenKept,
  kArgumentUnknown,
  // Ports and Services.
  kPortApi,
  kPortBlobs,
  kPortUnneeded,
  kHostPort,
  kService,
  kServiceSelector,
  kServiceUnneeded,
  // Volumes.
  kVolume,
  kVolumeRefused,
  kVolumeToken,
  kClaim,
  kPersistentVolume,
  // Tokens.
  kTokenInit,
  kTokenInitKept,
  kTokenAccess,
  kTokenAccessKept,
  // Other objects and components.
  kObjectKept,
  kLicence,
  kSpireWorkload,
  kSpireDomain,
  kSpireConfig,
  kSpireService,
  kOperatorLine,
  kOtherWorkload,
  kOtherKind,
  // What comes in.
  kAddedProbes,
  kAddedHealth,
  kAddedState,
  kAddedName,
  kAddedIdentity,
  kAddedService,
  kAddedSecurity,
  kAddedResources,
  kAddedSidecar,
  kAddedTemporary,
  kAddedAccess,
  kAddedRestart,
  kAddedBudget,
  kAddedPublic,
  kAddedSettings,
};

struct RuleText {
  Rule rule;
  std::string_view id;  // in the report's JSON and in the documentation
  Action action;
  std::string_view fields;  // what it is for
  std::string_view why;
  std::string_view next;  // what the user has to do, where something is
};
[[nodiscard]] std::span<const RuleText> Rules();
[[nodiscard]] const RuleText& TextOf(Rule rule);

// The table as docs/kubernetes-import.md holds it.
[[nodiscard]] std::string RulesMarkdown();

}  // namespace starling::kube
