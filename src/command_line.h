// The command line of `starling`, parsed. HPE's flags are accepted as HPE writes them: any case,
// --flag=value, and the SPIRE agent's long names behind one dash.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "environment.h"
#include "kube_import.h"
#include "swci/training.h"
#include "tools/client_install.h"
#include "tools/tools.h"

namespace starling {

// `starling identity dev-ca DIR --trust-domain X --issue /swarm/sl:stem …`
struct DevCaRequest {
  std::string directory;
  std::string trust_domain = "starling.local";
  std::vector<std::string> issue;     // path:stem
  std::vector<std::string> dns, ips;  // beside localhost and the loopback addresses
  std::uint64_t days = 30;
};

struct CommandLine {
  enum class Command : std::uint8_t {
    kHelp,
    kSn,
    kSl,
    kSwci,
    kTraining,
    kStatus,
    kExplain,
    kVerify,
    kDemo,
    kRun,
    kEnv,
    kVersion,
    kDevCa,
    kIdentityShow,
    kClientInstall,
    kKubeImport,
    kSpireTokens
  };
  Command command = Command::kHelp;
  std::string help;                          // kHelp: what to print
  std::map<std::string, std::string> flags;  // settings given as flags, by our names
  std::vector<std::string> program;          // what stood after "--"
  bool json = false;
  std::vector<std::string> swci_commands;  // --cmd
  TrainingRequest training;
  StatusRequest status;
  ExplainOptions explain;
  std::string explain_what;  // a training's name, or a path
  VerifyOptions verify;
  DemoOptions demo;
  RunOptions run;
  DevCaRequest dev_ca;
  ClientInstallOptions client_install;
  KubeImportRequest kube_import;
  Role show_as = Role::kSl;  // kIdentityShow
};

// `arguments` without the program's name. A usage error is InvalidArgument, its message one line.
[[nodiscard]] Result<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments);

}  // namespace starling
