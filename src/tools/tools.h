// The tools: everything of `starling` that is not a daemon. Each takes parsed options and answers
// an exit code (0 ok, 1 failed, 2 usage, 3 still waiting, 4 refused); output goes to standard
// output, errors as one line to standard error. One thread.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "http/client.h"

namespace starling {

struct ToolContext {
  const Clock& clock;
  Random& random;
  std::string self;  // path of this binary, to start nodes with
  std::stop_token stop;
};

struct RunOptions {
  std::size_t nodes = 2;
  std::vector<std::string> program;  // argv
  std::string directory;             // "" = starling-run-<time> here
  std::uint64_t min_peers = 0;       // 0 = max(1, nodes − 1)
  std::string contract = "defaultbb.cqdb.sml.hpe";
  bool keep_updates = false;
  bool kill_leader = false;             // once, in the middle of a merge; it is started again
  bool quiet = false;                   // only the summary
  std::vector<std::string> node_names;  // default a, b, c, …
  std::vector<std::pair<std::string, std::string>> environment;  // added for programs
};
[[nodiscard]] int RunSwarm(const RunOptions& options, const ToolContext& context);

struct DemoOptions {
  std::size_t nodes = 3;
  std::string directory;    // "" = starling-demo-<time> here
  std::string python;       // $STARLING_PYTHON, else python3
  std::string home;         // $STARLING_HOME: where examples/ and python/ are
  std::string data_dir;     // $DATA_DIR, else the system's fashion-mnist
  bool kill_leader = true;  // as in RunOptions
};
[[nodiscard]] int RunDemo(const DemoOptions& options, const ToolContext& context);

struct ExplainOptions {
  std::string source;                // a directory of a run, or a ledger.db; "": ask the SN
  std::vector<std::string> sn_urls;  // https://host:port, tried in turn by `http`
  HttpClient* http = nullptr;        // needed for `sn_urls`; the caller's
  std::string contract;              // "" = the only one
  std::optional<std::uint64_t> round;
  bool json = false;
};
[[nodiscard]] int Explain(const ExplainOptions& options, const ToolContext& context);

struct VerifyOptions {
  std::vector<std::string> paths;  // run directories, node directories, ledger.db
  bool json = false;
};
[[nodiscard]] int Verify(const VerifyOptions& options, const ToolContext& context);

}  // namespace starling
