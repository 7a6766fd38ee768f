// Swarm: one SN and N SLs as processes on this machine, on free ports of loopback, under one
// directory:
//   identity/  development authority and certificates     sn/  ledger     node-<name>/  log,
//   models, updates, result.json, model/ (the program's)
// `run` and `demo` stand on it. Owned by the thread that made it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/client.h"
#include "tools/processes.h"
#include "tools/story.h"
#include "tools/tools.h"

namespace starling {

struct SwarmEnd {
  std::size_t rounds = 0;
  std::optional<Digest> final_root;
  std::string holders_line;  // "same final model on 3 of 3 nodes"
  bool same_everywhere = false;
};

class Swarm {
 public:
  // Directories, keys, certificates, the SN, the training. Nothing of a node runs yet.
  static Result<std::unique_ptr<Swarm>> Start(const RunOptions& options,
                                              const ToolContext& context);
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;
  ~Swarm();

  // Starts the SLs with their programs and follows the ledger until all have ended. `on_round` is
  // called once a sealed round, on this thread, and `on_news` with a line about what else people
  // should know. An SN or SL that ends early ends the run: the error is the one-line reason.
  [[nodiscard]] Result<SwarmEnd> Run(const std::function<void(const RoundStory&)>& on_round,
                                     const std::function<void(const std::string&)>& on_news);
  [[nodiscard]] const std::string& directory() const;
  [[nodiscard]] std::vector<std::string> NodeDirectories() const;

 private:
  struct Impl;
  explicit Swarm(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// "a", "b", … "z", "n27", …
[[nodiscard]] std::string DefaultNodeName(std::size_t index);
// A fresh directory "<stem>-20261124-103107" in the current one, or `wanted`, which must be absent
// or empty.
[[nodiscard]] Result<std::string> FreshDirectory(const std::string& wanted, const std::string& stem,
                                                 const ToolContext& context);

}  // namespace starling
