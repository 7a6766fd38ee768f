// SwciSession: HPE's operator session: contexts, commands, results as lines. A result that starts
// with "ERROR " is a failure. One thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "http/client.h"
#include "swci/grammar.h"
#include "swci/sn_client.h"

namespace starling {

// What a session touches of its surroundings.
struct SwciSurroundings {
  std::function<std::unique_ptr<SnClient>(const Endpoint&)> connect;
  std::function<bool(Duration)> pause;  // waits; false when stopped
  std::function<Status(const std::string&)> change_directory;
  std::function<Result<std::string>()> directory;
  std::function<Result<std::vector<std::string>>(const std::string&)> list_directory;
};

struct SwciResult {
  std::vector<std::string> lines;
  bool counted = true;  // raises the prompt's number
  bool failed = false;
  bool exit = false;
};

class SwciSession {
 public:
  explicit SwciSession(SwciSurroundings surroundings) : world_(std::move(surroundings)) {}
  // A context made from the command line's --sn, and chosen.
  void Preset(const std::string& name, const Endpoint& sn);
  // One line of a script or of the operator.
  SwciResult Execute(std::string_view line);
  [[nodiscard]] std::string Prompt() const;  // "SWCI:3 > "
  [[nodiscard]] bool exits_on_failure() const { return exits_on_failure_; }

 private:
  using Lines = Result<std::vector<std::string>>;
  struct Context {
    Endpoint sn;
    std::unique_ptr<SnClient> client;
    std::map<std::string, std::string> env;
  };
  Lines Run(const SwciCommand& command);
  Lines RunContext(const SwciCommand& command);
  Lines RunContract(const SwciCommand& command);
  Lines RunHere(const SwciCommand& command);
  Lines CreateContext(const std::string& name, const Endpoint& sn);
  Lines ContextEnv(const SwciCommand& command);
  Lines ListContracts();
  Lines ContractInfo(const ContractName& name);
  Lines ContractStatus(const ContractName& name);
  Lines PerfData(const ContractName& name);
  Lines ListNodes();
  Lines WaitForUp(const Endpoint& sn, const std::string& retries);
  [[nodiscard]] Result<Context*> Find(const std::string& name);
  [[nodiscard]] Result<SnClient*> Active();

  SwciSurroundings world_;
  std::map<std::string, Context> contexts_;
  std::string active_;
  bool exits_on_failure_ = false;
  std::size_t count_ = 0;
};

}  // namespace starling
