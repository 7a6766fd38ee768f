#include "base/result.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "base/bytes.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::string_view kCodeUrl = "starling/code";
constexpr std::string_view kNextUrl = "starling/next";

Status With(Status status, std::string_view url, std::string_view text) {
  if (!status.ok()) status.SetPayload(AbslView(url), absl::Cord(AbslView(text)));
  return status;
}

std::string Payload(const Status& status, std::string_view url) {
  const auto payload = status.GetPayload(AbslView(url));
  return payload ? std::string(*payload) : std::string();
}

}  // namespace

Status Annotate(const Status& status, std::string_view where) {
  if (status.ok()) return status;
  Status annotated(status.code(), StrCat(where, ": ", status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

Status WithNext(Status status, std::string_view next_step) {
  return With(std::move(status), kNextUrl, next_step);
}
Status WithCode(Status status, std::string_view stable_code) {
  return With(std::move(status), kCodeUrl, stable_code);
}
std::string NextStep(const Status& status) { return Payload(status, kNextUrl); }

std::string StableCode(const Status& status) {
  if (std::string code = Payload(status, kCodeUrl); !code.empty()) return code;
  std::string name = absl::StatusCodeToString(status.code());
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return c == '_' ? '-' : static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  return name;
}

std::string ErrorLine(const Status& status, std::string_view component) {
  constexpr std::size_t kCauseMax = 2000;
  std::string line = StrCat(component, ": ", StableCode(status), ": ",
                            Printable(std::string(status.message()), kCauseMax));
  if (const std::string next = NextStep(status); !next.empty())
    StrAppend(&line, ". Next: ", Printable(next, kCauseMax));
  return line;
}

}  // namespace starling
