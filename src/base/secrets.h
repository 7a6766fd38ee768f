// Secrets that a process is given on its command line or in its environment: hidden from whoever
// may read /proc/<pid>/cmdline and /proc/<pid>/environ, and from the programs that it starts.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace starling {

struct SecretNames {
  std::span<const std::string_view> flags;      // lower case, without dashes
  std::span<const std::string_view> variables;  // of the environment
};

// Overwrites the values in place with asterisks and takes the variables out of the environment;
// answers what the values were. `arguments` are those of main, without the program's name: each
// flag counts in any case, behind one dash or two, with "=value" or the value as the next argument,
// up to an argument "--". Whoever wants the values copies them before. First thing in main: nothing
// else may use the environment meanwhile.
std::vector<std::string> HideSecrets(std::span<char* const> arguments, const SecretNames& names);

// The text with every occurrence of a secret as "…", for messages that repeat what they were given.
// Secrets of less than four bytes are none.
[[nodiscard]] std::string Redacted(std::string text, std::span<const std::string> secrets);
// The same of an error's words; its codes and its next step stay as they are.
[[nodiscard]] Status Redacted(const Status& status, std::span<const std::string> secrets);

// The one line that a file holds, or standard input where `path` is "-"; blanks around it are no
// part of it. InvalidArgument when there is none (code no-secret) or more. At most 4,096 bytes.
// `what` is for the error.
[[nodiscard]] Result<std::string> ReadSecretFile(const std::string& path, std::string_view what);

}  // namespace starling
