// From settings to what the daemons and clients are configured with. Pure; what the machine
// contributes comes in as Host.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "environment.h"
#include "http/client.h"
#include "sl/learning_node.h"
#include "sn/network_node.h"

namespace starling {

// What the machine says about itself.
struct Host {
  std::string name;                // host name
  std::string python = "python3";  // interpreter of training programs: $STARLING_PYTHON
  std::function<bool(const std::string&)> is_directory;  // does this directory exist?
};

[[nodiscard]] Result<Log> LogFrom(const Settings& settings, std::string_view name);

// The network nodes that a learning node or an operator speaks to, in order: --sn, else
// --sn-api-service, else --sn-ip with --sn-api-port.
[[nodiscard]] Result<std::vector<Endpoint>> SnEndpointsFrom(const Settings& settings);

[[nodiscard]] Result<NetworkNodeConfig> SnConfigFrom(const Settings& settings);

// `program`: what stood after "--". Else --ml-cmd or --model-program; else the node waits for a
// program on its socket.
[[nodiscard]] Result<LearningNodeConfig> SlConfigFrom(const Settings& settings,
                                                      const std::vector<std::string>& program,
                                                      const Host& host);

// HPE's "run <program> [arguments]": a Python program, relative to the model directory. Anything
// else is the command itself. Words are split as a shell does: blanks, quotes, backslashes; nothing
// is expanded.
[[nodiscard]] Result<std::vector<std::string>> ProgramFrom(const std::string& ml_cmd,
                                                           const std::string& model_dir,
                                                           const std::string& python);
[[nodiscard]] Result<std::vector<std::string>> SplitWords(std::string_view text);

// "name", "name:port", "[::1]:port", "https://name:port".
[[nodiscard]] Result<Endpoint> ParseHostPort(std::string_view text, std::uint16_t default_port);

}  // namespace starling
