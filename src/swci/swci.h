// `starling swci`: a script, commands of the command line, then standard input, through one
// SwciSession. One thread.
#pragma once

#include <iosfwd>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "http/client.h"
#include "swci/session.h"

namespace starling {

struct SwciOptions {
  std::optional<std::string> script;  // the text of the init script
  std::vector<std::string>
      commands;  // --cmd: run instead of standard input; a failure of one is the exit code
  std::optional<Endpoint> sn;  // becomes context "default"
  bool terminal = false;       // standard input is a terminal: show prompts, do not echo
};

// The exit code: 1 when a session was ended by EXIT ON FAILURE or a --cmd failed, else 0.
[[nodiscard]] int RunSwci(const SwciOptions& options, SwciSurroundings surroundings,
                          std::istream& in, std::ostream& out, const std::stop_token& stop);

// Directories of this process, waits that end with `stop`, and real clients over `http` (borrowed).
// `together`: SNs of one swarm; a context at the first of them asks the others while it is away.
[[nodiscard]] SwciSurroundings RealSurroundings(HttpClient& http, const std::stop_token& stop,
                                                const std::vector<Endpoint>& together = {});

}  // namespace starling
