// Requests and responses as handlers see them, problem JSON (RFC 9457), and the one table from
// status codes to HTTP.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/result.h"
#include "identity/spiffe_id.h"
#include "nlohmann/json.hpp"

namespace starling {

struct HttpRequest {
  std::string method;  // "GET", "POST"
  std::string path;    // without the query; percent-decoded, no "..", starts with '/'
  std::map<std::string, std::string> query;    // decoded; doubles refused
  std::map<std::string, std::string> headers;  // names lower case
  std::string body;
  std::optional<SpiffeId> peer;  // none on the plain port
  // An answer that waits for something is given within this span: the connection ends soon after.
  Duration time_left = Duration::max();
  [[nodiscard]] std::string Header(std::string_view lower_case_name) const;  // "" if absent
};

// Where a streamed body goes. Write blocks while the peer is slow (within its idle limit).
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual Status Write(ByteSpan bytes) = 0;
};
struct StreamedBody {
  std::uint64_t length = 0;
  std::function<Status(BodySink&, const std::stop_token&)>
      write;  // must write exactly `length` bytes or fail (the connection then ends)
};
struct HttpResponse {
  int status = 200;
  std::map<std::string, std::string> headers;
  std::variant<std::string, Slice, StreamedBody> body;
};

[[nodiscard]] HttpResponse JsonResponse(const nlohmann::json& body, int status = 200);
[[nodiscard]] HttpResponse TextResponse(std::string body, int status = 200);
// Problem JSON {type:"about:blank", title, status, detail, code, next, …extra}; status from the
// code table.
[[nodiscard]] HttpResponse ProblemResponse(const Status& status,
                                           const nlohmann::json& extra = nlohmann::json::object());
// The same with an HTTP status that the table does not give (405, 413, …).
[[nodiscard]] HttpResponse ProblemWithStatus(
    int http_status, const Status& status, const nlohmann::json& extra = nlohmann::json::object());
[[nodiscard]] int HttpStatusOf(absl::StatusCode code);
// The other way: what a client makes of an answer ≥ 400 (code, detail and next from the problem
// JSON, bounded).
[[nodiscard]] Status StatusOf(int http_status, std::string_view body);

// "bytes=a-b" | "bytes=a-" | "bytes=-n", one range; none when the header is absent. OutOfRange when
// it cannot be met, InvalidArgument for anything else.
[[nodiscard]] Result<std::optional<ByteRange>> ParseRange(std::string_view header,
                                                          std::uint64_t size);
// A whole or ranged answer (200, 206 with Content-Range, 416) of bytes that are there already.
[[nodiscard]] HttpResponse BlobResponse(const HttpRequest& request, const Slice& blob);

}  // namespace starling
