// Result and Status: errors are values that say where. Codes are absl's; src/http maps them to
// statuses in one table. A user-facing error has four parts, printed in one line by ErrorLine():
// code, cause, component, next step. Any thread; values.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace starling {

using Status = absl::Status;
template <typename T>
using Result = absl::StatusOr<T>;

// Adds one noun of context in front of the message and keeps code and payloads; OK stays OK.
Status Annotate(const Status& status, std::string_view where);

// Attaches what the user can do next, and a stable code for programs ("schema-differs"). OK stays
// OK.
Status WithNext(Status status, std::string_view next_step);
Status WithCode(Status status, std::string_view stable_code);

// The parts again. A status without its own code answers its absl code in lower case with dashes
// ("not-found").
std::string NextStep(const Status& status);
std::string StableCode(const Status& status);

// "starling sl: schema-differs: tensor 3 … Next: …" — one line, control characters escaped.
std::string ErrorLine(const Status& status, std::string_view component);

}  // namespace starling

#define STARLING_CONCAT_(a, b) a##b
#define STARLING_CONCAT(a, b) STARLING_CONCAT_(a, b)

#define RETURN_IF_ERROR(expression)                                                             \
  do {                                                                                          \
    if (::absl::Status status_or_ok_ = (expression); !status_or_ok_.ok()) return status_or_ok_; \
  } while (false)

#define ASSIGN_OR_RETURN(declaration, expression) \
  ASSIGN_OR_RETURN_IMPL_(STARLING_CONCAT(result_or_error_, __LINE__), declaration, expression)
#define ASSIGN_OR_RETURN_IMPL_(name, declaration, expression) \
  auto name = (expression);                                   \
  if (!name.ok()) return std::move(name).status();            \
  declaration = *std::move(name)
