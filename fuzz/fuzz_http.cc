// HTTP as it comes from outside: request and response heads, targets and queries, ranges, URLs,
// problem JSON.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "http/client.h"
#include "http/message.h"
#include "http/request_parser.h"

namespace starling {
namespace {

void Ranges(std::string_view text) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1000}}) {
    const Result<std::optional<ByteRange>> range = ParseRange(text, size);
    if (!range.ok() || !*range) continue;
    CHECK((*range)->begin < (*range)->end && (*range)->end <= size);
  }
}

void Request(std::string_view head) {
  const auto parsed = ParseRequestHead(head);
  if (const auto* const refusal = std::get_if<RequestRefusal>(&parsed)) {
    CHECK(refusal->http_status >= 400 && !refusal->status.ok());
    return;
  }
  const auto& request = std::get<RequestHead>(parsed).request;
  CHECK(request.path.starts_with('/'));
  CHECK(request.path.find("/../") == std::string::npos && !request.path.ends_with("/.."));
  CHECK(!request.headers.contains("transfer-encoding"));
  Ranges(request.Header("range"));
}

}  // namespace
}  // namespace starling

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto length = starling::HeadLength(text)) {
    starling::Request(text.substr(0, *length));
    static_cast<void>(starling::ParseResponseHead(text.substr(0, *length)));
  }
  starling::Request(text);
  static_cast<void>(starling::ParseResponseHead(text));
  static_cast<void>(starling::ParseTarget(text));
  if (const auto chunk = starling::ParseChunkSize(text); chunk.ok()) CHECK(*chunk >> 32 == 0);
  static_cast<void>(starling::StatusOf(400, text));
  starling::Ranges(text);
  if (const auto endpoint = starling::Endpoint::Parse(text); endpoint.ok()) {
    CHECK(starling::Endpoint::Parse(endpoint->Url()).ok());
  }
  return 0;
}
