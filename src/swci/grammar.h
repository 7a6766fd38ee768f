// SWCI's grammar: one table of patterns in HPE's notation. Keywords are case-insensitive, names are
// taken literally. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace starling {

enum class SwciVerb : std::uint8_t {
  kNothing,  // blank or comment
  kCreateContext,
  kCreateContextService,
  kSwitchContext,
  kListContexts,
  kContextInfo,
  kContextVersion,
  kListContextEnv,
  kGetContextEnv,
  kSetContextEnv,
  kCreateContract,
  kListContracts,
  kContractInfo,
  kContractStatus,
  kPerfData,
  kResetContract,
  kListNodes,
  kWaitForIp,
  kWaitForService,
  kChangeDirectory,
  kListDirectory,
  kPrintDirectory,
  kPause,
  kExitOnFailure,
  kExit,
  kHelp,
  kLater,  // tasks and task runners
};

// In a pattern, <x> is an argument, [x] an optional one at the end, … any rest; other words are
// keywords.
struct SwciPattern {
  std::string_view text;
  SwciVerb verb;
};
[[nodiscard]] std::span<const SwciPattern> SwciPatterns();

struct SwciCommand {
  SwciVerb verb = SwciVerb::kNothing;
  std::vector<std::string> arguments;  // optional ones only where given
};
// InvalidArgument with the usage when the keywords fit a command but its arguments do not, or when
// there is no such command.
[[nodiscard]] Result<SwciCommand> ParseSwciLine(std::string_view line);

}  // namespace starling
