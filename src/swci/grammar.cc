#include "swci/grammar.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/bytes.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::size_t kLineBytesMax = 4096;

// The first that fits wins, so the more special stands before the more general.
constexpr SwciPattern kPatterns[] = {
    {"CREATE CONTEXT <name> WITH IP <ip> [port]", SwciVerb::kCreateContext},
    {"CREATE CONTEXT <name> WITH SERVICE <fqdn:port>", SwciVerb::kCreateContextService},
    {"CREATE CONTEXT <name> <ip> [port]", SwciVerb::kCreateContext},
    {"SWITCH CONTEXT <name>", SwciVerb::kSwitchContext},
    {"LIST CONTEXTS", SwciVerb::kListContexts},
    {"GET CONTEXT INFO [name]", SwciVerb::kContextInfo},
    {"GET CONTEXT VERSION", SwciVerb::kContextVersion},
    {"LIST CONTEXT ENV [name]", SwciVerb::kListContextEnv},
    {"GET CONTEXT ENV <name> <env>", SwciVerb::kGetContextEnv},
    {"GET CONTEXT ENV <env>", SwciVerb::kGetContextEnv},
    {"SET CONTEXT ENV <name> <env> <value>", SwciVerb::kSetContextEnv},
    {"SET CONTEXT ENV <env> <value>", SwciVerb::kSetContextEnv},
    {"CREATE CONTRACT <contract>", SwciVerb::kCreateContract},
    {"LIST CONTRACTS", SwciVerb::kListContracts},
    {"GET CONTRACT INFO <contract>", SwciVerb::kContractInfo},
    {"GET CONTRACT STATUS <contract>", SwciVerb::kContractStatus},
    {"PERFDATA <contract>", SwciVerb::kPerfData},
    {"RESET CONTRACT <contract>", SwciVerb::kResetContract},
    {"LIST NODES", SwciVerb::kListNodes},
    {"CREATE TASK …", SwciVerb::kLater},
    {"APPEND TASK …", SwciVerb::kLater},
    {"FINALIZE TASK …", SwciVerb::kLater},
    {"DELETE TASK …", SwciVerb::kLater},
    {"GET TASK …", SwciVerb::kLater},
    {"LIST TASKS", SwciVerb::kLater},
    {"ASSIGN TASK …", SwciVerb::kLater},
    {"CREATE TASKRUNNER …", SwciVerb::kLater},
    {"LIST TASKRUNNERS", SwciVerb::kLater},
    {"GET TASKRUNNER …", SwciVerb::kLater},
    {"LIST TASKRUNNER …", SwciVerb::kLater},
    {"RESET TASKRUNNER …", SwciVerb::kLater},
    {"WAIT FOR TASKRUNNER …", SwciVerb::kLater},
    {"WAIT FOR IP <ip> [port] [retries]", SwciVerb::kWaitForIp},
    {"WAIT FOR SERVICE <fqdn:port> [retries]", SwciVerb::kWaitForService},
    {"WAIT FOR <ip> [port] [retries]", SwciVerb::kWaitForIp},
    {"CD <dir>", SwciVerb::kChangeDirectory},
    {"LS …", SwciVerb::kListDirectory},
    {"PWD", SwciVerb::kPrintDirectory},
    {"SLEEP <seconds>", SwciVerb::kPause},
    {"EXIT ON FAILURE [on|off]", SwciVerb::kExitOnFailure},
    {"EXIT", SwciVerb::kExit},
    {"HELP …", SwciVerb::kHelp},
};

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  while (begin < text.size()) {
    while (begin < text.size() && std::isspace(static_cast<unsigned char>(text[begin])) != 0)
      ++begin;
    std::size_t end = begin;
    while (end < text.size() && std::isspace(static_cast<unsigned char>(text[end])) == 0) ++end;
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

bool SameKeyword(std::string_view keyword, std::string_view word) {
  return keyword.size() == word.size() &&
         std::equal(keyword.begin(), keyword.end(), word.begin(), [](char a, char b) {
           return a == static_cast<char>(std::toupper(static_cast<unsigned char>(b)));
         });
}

bool IsKeyword(std::string_view item) { return item[0] != '<' && item[0] != '[' && item != "…"; }

struct Match {
  bool whole = false;
  std::size_t keywords = 0;  // how many leading keywords fit: for the usage
  std::vector<std::string> arguments;
};

Match MatchPattern(std::string_view pattern, std::span<const std::string_view> words) {
  Match match;
  const std::vector<std::string_view> items = Words(pattern);
  std::size_t at = 0;
  for (const std::string_view item : items) {
    if (item == "…") {
      for (; at < words.size(); ++at) match.arguments.emplace_back(words[at]);
      break;
    }
    if (at == words.size()) {
      if (item[0] == '[') continue;
      return match;
    }
    if (IsKeyword(item)) {
      if (!SameKeyword(item, words[at])) return match;
      if (match.arguments.empty()) ++match.keywords;
    } else {
      match.arguments.emplace_back(words[at]);
    }
    ++at;
  }
  match.whole = at == words.size();
  return match;
}

std::size_t LeadingKeywords(std::string_view pattern) {
  const std::vector<std::string_view> items = Words(pattern);
  return static_cast<std::size_t>(std::find_if_not(items.begin(), items.end(), IsKeyword) -
                                  items.begin());
}

}  // namespace

std::span<const SwciPattern> SwciPatterns() { return kPatterns; }

Result<SwciCommand> ParseSwciLine(std::string_view line) {
  if (line.size() > kLineBytesMax)
    return absl::InvalidArgumentError(StrCat("a command is at most ", kLineBytesMax, " bytes"));
  const std::vector<std::string_view> words = Words(line);
  if (words.empty() || words[0].starts_with('#')) return SwciCommand{};
  std::optional<std::string_view> usage;
  for (const SwciPattern& pattern : kPatterns) {
    Match match = MatchPattern(pattern.text, words);
    if (match.whole) return SwciCommand{pattern.verb, std::move(match.arguments)};
    if (!usage && match.keywords > 0 && match.keywords == LeadingKeywords(pattern.text))
      usage = pattern.text;
  }
  if (usage) return absl::InvalidArgumentError(StrCat("usage: ", *usage));
  return absl::InvalidArgumentError(
      StrCat("unknown command: ", Printable(line, 100), "; HELP lists all"));
}

}  // namespace starling
