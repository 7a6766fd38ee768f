// What each command of the command line does, with what main has constructed. Answers the process's
// exit code; errors go to standard error in one line.
#pragma once

#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "command_line.h"
#include "environment.h"
#include "node_configs.h"

namespace starling {

// The real world, made in main and borrowed here.
struct Machine {
  const Clock& clock;
  Random& random;
  EnvironmentMap environment;
  Host host;
  std::string self;  // path of this binary
  bool input_is_terminal = false;
  std::stop_token stop;
};

[[nodiscard]] int RunCommand(const CommandLine& line, const Machine& machine);

}  // namespace starling
