#include "base/secrets.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>

#include "base/fs.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::size_t kSecretBytesMin = 4;
constexpr std::size_t kFileBytesMax = 4096;

bool SameName(std::string_view given, std::string_view name) {
  return std::ranges::equal(given, name, [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == static_cast<unsigned char>(b);
  });
}

// "-joinToken=x" is named joinToken; what is no flag has no name.
std::string_view NameOf(std::string_view argument) {
  if (!argument.starts_with('-')) return {};
  argument.remove_prefix(argument.starts_with("--") ? 2 : 1);
  return argument.substr(0, argument.find('='));
}

void Hide(char* value, std::vector<std::string>& hidden) {
  const std::size_t size = std::strlen(value);
  if (size == 0) return;
  hidden.emplace_back(value, size);
  std::memset(value, '*', size);
}

}  // namespace

std::vector<std::string> HideSecrets(std::span<char* const> arguments, const SecretNames& names) {
  std::vector<std::string> hidden;
  for (std::size_t i = 0; i < arguments.size() && std::strcmp(arguments[i], "--") != 0; ++i) {
    const std::string_view name = NameOf(arguments[i]);
    if (std::ranges::none_of(names.flags, [&](auto flag) { return SameName(name, flag); })) {
      continue;
    }
    if (char* const equals = std::strchr(arguments[i], '='); equals != nullptr) {
      Hide(equals + 1, hidden);
    } else if (i + 1 < arguments.size()) {
      Hide(arguments[++i], hidden);
    }
  }
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    char* const equals = std::strchr(*variable, '=');
    if (equals == nullptr) continue;
    const std::string_view name(*variable, static_cast<std::size_t>(equals - *variable));
    if (std::ranges::find(names.variables, name) != names.variables.end()) Hide(equals + 1, hidden);
  }
  for (const std::string_view variable : names.variables) {
    unsetenv(std::string(variable).c_str());  // NOLINT(concurrency-mt-unsafe): see the contract
  }
  return hidden;
}

std::string Redacted(std::string text, std::span<const std::string> secrets) {
  constexpr std::string_view kInstead = "…";
  for (const std::string& secret : secrets) {
    if (secret.size() < kSecretBytesMin) continue;
    for (std::size_t at = text.find(secret); at != std::string::npos;
         at = text.find(secret, at + kInstead.size())) {
      text.replace(at, secret.size(), kInstead);
    }
  }
  return text;
}

Status Redacted(const Status& status, std::span<const std::string> secrets) {
  Status redacted(status.code(), Redacted(std::string(status.message()), secrets));
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    redacted.SetPayload(type, payload);
  });
  return redacted;
}

Result<std::string> ReadSecretFile(const std::string& path, std::string_view what) {
  const bool standard_input = path == "-";
  const std::string name = standard_input ? "standard input" : path;
  Result<std::string> text = ReadFile(standard_input ? "/dev/stdin" : path, kFileBytesMax);
  if (!text.ok()) return Annotate(text.status(), what);
  constexpr std::string_view kBlanks = " \t\r\n";
  const std::size_t begin = text->find_first_not_of(kBlanks);
  if (begin == std::string::npos) {
    return WithCode(absl::InvalidArgumentError(StrCat(name, ": holds no ", what)), "no-secret");
  }
  std::string secret = text->substr(begin, text->find_last_not_of(kBlanks) - begin + 1);
  if (secret.find_first_of(kBlanks) != std::string::npos) {
    return absl::InvalidArgumentError(StrCat(name, ": holds more than one ", what));
  }
  return secret;
}

}  // namespace starling
