// `starling run -n N -- PROGRAM…`: N peers of your own program on this machine.
#include <iostream>

#include "tools/swarm.h"
#include "tools/tools.h"

namespace starling {
namespace {

Status RunIt(const RunOptions& options, const ToolContext& context) {
  if (options.program.empty())
    return WithNext(absl::InvalidArgumentError("no program given"),
                    "add -- and the program, as in: starling run -n 2 -- python train.py");
  ASSIGN_OR_RETURN(const std::unique_ptr<Swarm> swarm, Swarm::Start(options, context));
  if (!options.quiet)
    std::cout << "nodes' logs: " << swarm->directory() << "/node-*/log.txt\n" << std::flush;
  ASSIGN_OR_RETURN(const SwarmEnd end, swarm->Run(
                                           [&](const RoundStory& round) {
                                             if (!options.quiet)
                                               std::cout << RoundLine(round) << "\n" << std::flush;
                                           },
                                           [&](const std::string& news) {
                                             if (!options.quiet)
                                               std::cout << news << "\n" << std::flush;
                                           }));
  if (!end.final_root) {
    return WithNext(absl::FailedPreconditionError("all programs ended, but no round was merged"),
                    "does the program pass the swarm callback to its training?");
  }
  std::cout << "done: " << end.rounds << " rounds, " << end.holders_line << ", root "
            << RootText(*end.final_root) << "\n"
            << "files: " << swarm->directory() << "\n"
            << "next:  starling explain " << swarm->directory() << "\n"
            << "       starling verify " << swarm->directory() << "\n";
  return end.same_everywhere ? absl::OkStatus()
                             : absl::DataLossError("the nodes do not all hold the final model: " +
                                                   end.holders_line);
}

}  // namespace

int RunSwarm(const RunOptions& options, const ToolContext& context) {
  const Status status = RunIt(options, context);
  if (status.ok()) return 0;
  std::cerr << ErrorLine(status, "starling run") << "\n";
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

}  // namespace starling
