// The parsing of what the other end says: request and response heads, targets. Pure functions of
// bytes; strict: what could be read in two ways is refused. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/message.h"

namespace starling {

// A refused request: `http_status` is the answer, the Status has a StableCode (malformed,
// length-required, …).
struct RequestHead {
  HttpRequest request;  // without body and peer
  std::uint64_t body_bytes = 0;
  bool keep_alive = true;
};
struct RequestRefusal {
  int http_status = 400;
  Status status;
};
// `head`: all bytes up to and including the empty line.
[[nodiscard]] std::variant<RequestHead, RequestRefusal> ParseRequestHead(std::string_view head);

struct ResponseHead {
  int status = 0;
  std::map<std::string, std::string> headers;  // names lower case
  std::uint64_t body_bytes = 0;
  bool is_chunked = false;  // Then nothing tells the length beforehand, and body_bytes is 0.
  bool keep_alive = true;
};
[[nodiscard]] Result<ResponseHead> ParseResponseHead(std::string_view head);

// The size of the chunk that `line`, without its line break, begins: 0 for the last one. Extensions
// are dropped.
[[nodiscard]] Result<std::uint64_t> ParseChunkSize(std::string_view line);

// The length of the head that `bytes` starts with, its empty line included; none while that has not
// come.
[[nodiscard]] std::optional<std::size_t> HeadLength(std::string_view bytes);

// Origin form only: "/path?query".
struct Target {
  std::string path;
  std::map<std::string, std::string> query;
};
[[nodiscard]] Result<Target> ParseTarget(std::string_view target);
// Strict: %XX only, no control characters, UTF-8 after decoding.
[[nodiscard]] Result<std::string> PercentDecode(std::string_view text);
// Letters, digits and "-._~" stay.
[[nodiscard]] std::string PercentEncode(std::string_view text);

}  // namespace starling
