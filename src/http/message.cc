#include "http/message.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "boost/beast/http/status.hpp"

namespace starling {
namespace {

constexpr std::size_t kTextMax = 2000;  // of what a peer says about an error

struct CodeRow {
  absl::StatusCode code;
  int http_status;
};
// The first row of an HTTP status is what a client makes of it when the answer does not say more.
constexpr std::array<CodeRow, 17> kCodes{{
    {absl::StatusCode::kOk, 200},
    {absl::StatusCode::kInvalidArgument, 400},
    {absl::StatusCode::kUnauthenticated, 401},
    {absl::StatusCode::kPermissionDenied, 403},
    {absl::StatusCode::kNotFound, 404},
    {absl::StatusCode::kFailedPrecondition, 409},
    {absl::StatusCode::kAlreadyExists, 409},
    {absl::StatusCode::kAborted, 409},
    {absl::StatusCode::kOutOfRange, 416},
    {absl::StatusCode::kResourceExhausted, 429},
    {absl::StatusCode::kInternal, 500},
    {absl::StatusCode::kDataLoss, 500},
    {absl::StatusCode::kUnknown, 500},
    {absl::StatusCode::kUnimplemented, 501},
    {absl::StatusCode::kUnavailable, 503},
    {absl::StatusCode::kCancelled, 503},
    {absl::StatusCode::kDeadlineExceeded, 504},
}};

// Statuses that only a server itself answers with.
constexpr std::array<CodeRow, 7> kServerCodes{{
    {absl::StatusCode::kUnimplemented, 405},
    {absl::StatusCode::kDeadlineExceeded, 408},
    {absl::StatusCode::kInvalidArgument, 411},
    {absl::StatusCode::kResourceExhausted, 413},
    {absl::StatusCode::kInvalidArgument, 417},
    {absl::StatusCode::kResourceExhausted, 431},
    {absl::StatusCode::kUnavailable, 502},
}};

std::string Title(int http_status) {
  const auto text = boost::beast::http::obsolete_reason(
      boost::beast::http::int_to_status(static_cast<unsigned>(http_status)));
  return {text.data(), text.size()};
}

absl::StatusCode CodeOf(int http_status, std::string_view stable_code) {
  for (const CodeRow& row : kCodes) {
    if (row.http_status == http_status && StableCode(Status(row.code, "")) == stable_code)
      return row.code;
  }
  for (const CodeRow& row : kCodes) {
    if (row.http_status == http_status) return row.code;
  }
  for (const CodeRow& row : kServerCodes) {
    if (row.http_status == http_status) return row.code;
  }
  return http_status >= 500 ? absl::StatusCode::kUnavailable : absl::StatusCode::kUnknown;
}

// A text member of an untrusted object, "" for anything else.
std::string TextMember(const nlohmann::json& object, const char* member) {
  const auto found = object.find(member);
  if (found == object.end() || !found->is_string()) return {};
  return Printable(found->get_ref<const std::string&>(), kTextMax);
}

std::optional<std::uint64_t> ParseNumber(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size())
    return std::nullopt;
  return value;
}

}  // namespace

std::string HttpRequest::Header(std::string_view lower_case_name) const {
  const auto found = headers.find(std::string(lower_case_name));
  return found == headers.end() ? std::string() : found->second;
}

HttpResponse JsonResponse(const nlohmann::json& body, int status) {
  return {.status = status,
          .headers = {{"content-type", "application/json"}},
          .body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)};
}

HttpResponse TextResponse(std::string body, int status) {
  return {.status = status,
          .headers = {{"content-type", "text/plain; charset=utf-8"}},
          .body = std::move(body)};
}

HttpResponse ProblemWithStatus(int http_status, const Status& status, const nlohmann::json& extra) {
  nlohmann::json problem = extra.is_object() ? extra : nlohmann::json::object();
  problem["type"] = "about:blank";
  problem["title"] = Title(http_status);
  problem["status"] = http_status;
  problem["detail"] = std::string(status.message());
  problem["code"] = StableCode(status);
  if (const std::string next = NextStep(status); !next.empty()) problem["next"] = next;
  HttpResponse response = JsonResponse(problem, http_status);
  response.headers["content-type"] = "application/problem+json";
  return response;
}

HttpResponse ProblemResponse(const Status& status, const nlohmann::json& extra) {
  return ProblemWithStatus(HttpStatusOf(status.code()), status, extra);
}

int HttpStatusOf(absl::StatusCode code) {
  for (const CodeRow& row : kCodes) {
    if (row.code == code) return row.http_status;
  }
  return 500;
}

Status StatusOf(int http_status, std::string_view body) {
  if (http_status < 400) return absl::OkStatus();
  constexpr std::size_t kProblemBytesMax = std::size_t{64} << 10;
  nlohmann::json problem;
  if (body.size() <= kProblemBytesMax) problem = nlohmann::json::parse(body, nullptr, false);
  std::string code;
  std::string detail;
  std::string next;
  if (problem.is_object()) {
    code = TextMember(problem, "code");
    detail = TextMember(problem, "detail");
    next = TextMember(problem, "next");
  }
  if (detail.empty()) detail = StrCat("HTTP status ", http_status, " ", Title(http_status));
  Status status(CodeOf(http_status, code), detail);
  if (!code.empty()) status = WithCode(std::move(status), code);
  if (!next.empty()) status = WithNext(std::move(status), next);
  return status;
}

Result<std::optional<ByteRange>> ParseRange(std::string_view header, std::uint64_t size) {
  if (header.empty()) return std::optional<ByteRange>();
  constexpr std::string_view kUnit = "bytes=";
  const auto malformed = [&] {
    return absl::InvalidArgumentError(StrCat("Range: \"", Printable(header, 80),
                                             "\" is not one range in bytes (bytes=first-last)"));
  };
  if (!header.starts_with(kUnit)) return malformed();
  const std::string_view range = header.substr(kUnit.size());
  const std::size_t dash = range.find('-');
  if (dash == std::string_view::npos) return malformed();
  const std::string_view first_text = range.substr(0, dash);
  const std::string_view last_text = range.substr(dash + 1);
  const auto unmet = [&] {
    return absl::OutOfRangeError(
        StrCat("Range: \"", Printable(header, 80), "\" lies outside the ", size, " bytes"));
  };
  const std::optional<std::uint64_t> last = ParseNumber(last_text);
  if (!last && !last_text.empty()) return malformed();
  if (first_text.empty()) {  // the last n bytes
    if (!last) return malformed();
    if (*last == 0 || size == 0) return unmet();
    return std::optional(ByteRange{size - std::min(*last, size), size});
  }
  const std::optional<std::uint64_t> first = ParseNumber(first_text);
  if (!first || (last && *last < *first)) return malformed();
  if (*first >= size) return unmet();
  return std::optional(ByteRange{*first, last ? std::min(*last, size - 1) + 1 : size});
}

HttpResponse BlobResponse(const HttpRequest& request, const Slice& blob) {
  const std::uint64_t size = blob.bytes.size();
  const Result<std::optional<ByteRange>> range = ParseRange(request.Header("range"), size);
  if (!range.ok()) {
    HttpResponse response = ProblemResponse(range.status());
    if (absl::IsOutOfRange(range.status()))
      response.headers["content-range"] = StrCat("bytes */", size);
    return response;
  }
  HttpResponse response{
      .status = 200,
      .headers = {{"content-type", "application/octet-stream"}, {"accept-ranges", "bytes"}},
      .body = blob};
  if (*range) {
    const ByteRange part = **range;
    response.status = 206;
    response.headers["content-range"] = StrCat("bytes ", part.begin, "-", part.end - 1, "/", size);
    response.body = Slice{blob.bytes.subspan(part.begin, part.size()), blob.keep};
  }
  return response;
}

}  // namespace starling
