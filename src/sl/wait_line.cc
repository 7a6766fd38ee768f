#include "sl/wait_line.h"

#include "base/text.h"

namespace starling {

std::string WaitLine(const Waiting& waiting, Instant now, UtcTime utc) {
  std::string line = waiting.what;
  for (const NodeName& name : waiting.silent)
    StrAppend(&line, &name == &waiting.silent.front() ? " (without an answer: " : ", ",
              name.value());
  if (!waiting.silent.empty()) StrAppend(&line, ")");
  const auto lasted = std::chrono::duration_cast<std::chrono::milliseconds>(now - waiting.since);
  StrAppend(&line, ", since ", FormatLocalTime(utc - lasted));
  if (!waiting.next.empty()) StrAppend(&line, "; next: ", waiting.next);
  if (waiting.until && *waiting.until > now)
    StrAppend(&line, ", in ", (*waiting.until - now + 999ms) / 1s, " s");
  return line;
}

}  // namespace starling
