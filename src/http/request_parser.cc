#include "http/request_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"
#include "boost/asio/buffer.hpp"
#include "boost/beast/http/empty_body.hpp"
#include "boost/beast/http/parser.hpp"

namespace starling {
namespace {

namespace beast_http = boost::beast::http;

constexpr std::size_t kFieldsMax = 100;
constexpr std::size_t kParametersMax = 32;
constexpr std::size_t kTargetBytesMax = 8192;
constexpr std::array<std::string_view, 5> kMethods{"DELETE", "GET", "PATCH", "POST", "PUT"};
// Fields that a second one would contradict.
constexpr std::array<std::string_view, 6> kSingle{
    "authorization", "content-length", "content-type", "host", "range", "starling-seen"};

std::string_view View(boost::beast::string_view text) { return {text.data(), text.size()}; }

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return lower;
}

Status Malformed(std::string_view what) {
  return WithCode(absl::InvalidArgumentError(std::string(what)), "malformed");
}
RequestRefusal Refuse(int http_status, std::string_view code, std::string_view what) {
  const absl::StatusCode kind = http_status == 400 || http_status == 411 || http_status == 417
                                    ? absl::StatusCode::kInvalidArgument
                                    : absl::StatusCode::kUnimplemented;
  return {http_status, WithCode(Status(kind, std::string(what)), code)};
}

// A line that continues the one before could hide a second header from whoever reads lines; a lone
// LF or NUL, too.
Status CheckLines(std::string_view head) {
  for (std::size_t i = 0; i < head.size(); ++i) {
    const auto c = static_cast<unsigned char>(head[i]);
    if (c == '\n' && (i == 0 || head[i - 1] != '\r')) return Malformed("a line ends without CR");
    if (c == '\r' && (i + 1 == head.size() || head[i + 1] != '\n'))
      return Malformed("a CR without LF");
    if (c == '\n' && i + 1 < head.size() && (head[i + 1] == ' ' || head[i + 1] == '\t')) {
      return Malformed("a header continues on a second line");
    }
    if ((c < 0x20 && c != '\r' && c != '\n' && c != '\t') || c == 0x7f)
      return Malformed("a control character");
  }
  return absl::OkStatus();
}

// Beast parses one head; it keeps to the grammar, the rest is decided here.
template <typename Parser>
Status RunBeast(Parser& parser, std::string_view head) {
  parser.header_limit(static_cast<std::uint32_t>(head.size() + 1));
  parser.skip(true);  // Bodies are read, and limited, elsewhere.
  parser.body_limit(boost::none);
  boost::beast::error_code error;
  const std::size_t used = parser.put(boost::asio::buffer(head.data(), head.size()), error);
  if (error) return Malformed(error.message());
  if (!parser.is_header_done() || used != head.size())
    return Malformed("the header is not complete");
  return absl::OkStatus();
}

template <typename Fields>
Result<std::map<std::string, std::string>> CollectFields(const Fields& fields) {
  std::map<std::string, std::string> headers;
  std::size_t count = 0;
  for (const auto& field : fields) {
    if (++count > kFieldsMax) return Malformed("too many header fields");
    const std::string name = Lower(View(field.name_string()));
    const std::string_view value = View(field.value());
    const auto [at, fresh] = headers.try_emplace(name, value);
    if (fresh) continue;
    if (std::ranges::find(kSingle, name) != kSingle.end())
      return Malformed(StrCat("two header fields ", name));
    StrAppend(&at->second, ", ", value);
  }
  return headers;
}

Result<std::optional<std::uint64_t>> ContentLength(
    const std::map<std::string, std::string>& headers) {
  const auto found = headers.find("content-length");
  if (found == headers.end()) return std::optional<std::uint64_t>();
  const std::string& text = found->second;
  std::uint64_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) {
    return Malformed("Content-Length is not a number");
  }
  return std::optional(length);
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Result<std::map<std::string, std::string>> ParseQuery(std::string_view text) {
  std::map<std::string, std::string> query;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    ASSIGN_OR_RETURN(const std::string name, PercentDecode(pair.substr(0, equals)));
    ASSIGN_OR_RETURN(const std::string value,
                     PercentDecode(pair.substr(std::min(equals + 1, pair.size()))));
    if (name.empty()) return Malformed("a query parameter without a name");
    if (query.size() == kParametersMax) return Malformed("too many query parameters");
    if (!query.try_emplace(name, value).second) {
      return Malformed(StrCat("the query parameter ", Printable(name, 80), " stands twice"));
    }
  }
  return query;
}

std::optional<RequestRefusal> CheckFraming(const RequestHead& head, unsigned version) {
  const auto& headers = head.request.headers;
  if (headers.contains("transfer-encoding")) {
    return Refuse(411, "length-required",
                  "request bodies need a Content-Length; no transfer encoding is taken");
  }
  if (headers.contains("expect"))
    return Refuse(417, "no-expect", "the header Expect is not supported");
  if (headers.contains("upgrade"))
    return Refuse(400, "no-upgrade", "this server speaks HTTP/1.1 only");
  if (version >= 11 && !headers.contains("host"))
    return Refuse(400, "malformed", "the header Host is missing");
  return std::nullopt;
}

}  // namespace

std::optional<std::size_t> HeadLength(std::string_view bytes) {
  const std::size_t end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  return end + 4;
}

std::variant<RequestHead, RequestRefusal> ParseRequestHead(std::string_view bytes) {
  beast_http::request_parser<beast_http::empty_body> parser;
  Status status = CheckLines(bytes);
  if (status.ok()) status = RunBeast(parser, bytes);
  if (!status.ok()) return RequestRefusal{400, status};
  const auto& message = parser.get();
  RequestHead head;
  head.request.method = std::string(View(message.method_string()));
  if (std::ranges::find(kMethods, head.request.method) == kMethods.end()) {
    return Refuse(405, "method-not-allowed",
                  StrCat("the method ", Printable(head.request.method, 40), " is not supported"));
  }
  Result<Target> target = ParseTarget(View(message.target()));
  if (!target.ok()) return RequestRefusal{400, target.status()};
  head.request.path = std::move(target->path);
  head.request.query = std::move(target->query);
  auto headers = CollectFields(message);
  if (!headers.ok()) return RequestRefusal{400, headers.status()};
  head.request.headers = *std::move(headers);
  if (auto refusal = CheckFraming(head, message.version())) return *std::move(refusal);
  const auto length = ContentLength(head.request.headers);
  if (!length.ok()) return RequestRefusal{400, length.status()};
  if (!*length && (head.request.method == "POST" || head.request.method == "PUT" ||
                   head.request.method == "PATCH")) {
    return Refuse(411, "length-required", "this request needs a Content-Length");
  }
  head.body_bytes = length->value_or(0);
  head.keep_alive = message.keep_alive();
  return head;
}

Result<ResponseHead> ParseResponseHead(std::string_view bytes) {
  beast_http::response_parser<beast_http::empty_body> parser;
  RETURN_IF_ERROR(CheckLines(bytes));
  RETURN_IF_ERROR(RunBeast(parser, bytes));
  const auto& message = parser.get();
  ResponseHead head;
  head.status = static_cast<int>(message.result_int());
  if (head.status < 200 || head.status > 599)
    return Malformed(StrCat("an answer with status ", head.status));
  ASSIGN_OR_RETURN(head.headers, CollectFields(message));
  ASSIGN_OR_RETURN(const std::optional<std::uint64_t> length, ContentLength(head.headers));
  if (const auto coding = head.headers.find("transfer-encoding"); coding != head.headers.end()) {
    // Both would be two lengths.
    if (length || coding->second != "chunked") return Malformed("an answer of unclear length");
    head.is_chunked = true;
  }
  if (!length && !head.is_chunked && head.status != 204 && head.status != 304)
    return Malformed("an answer without a Content-Length");
  const bool is_empty = head.status == 204 || head.status == 304;
  if (is_empty && head.is_chunked) return Malformed("an answer of unclear length");
  head.body_bytes = is_empty ? 0 : length.value_or(0);
  head.keep_alive = message.keep_alive();
  return head;
}

Result<std::uint64_t> ParseChunkSize(std::string_view line) {
  constexpr std::size_t kDigitsMax = 8;
  const std::string_view digits = line.substr(0, line.find_first_of("; \t"));
  if (digits.empty() || digits.size() > kDigitsMax) return Malformed("a chunk without a size");
  std::uint64_t size = 0;
  for (const char digit : digits) {
    const int value = HexValue(digit);
    if (value < 0) return Malformed("a chunk without a size");
    size = size * 16 + static_cast<std::uint64_t>(value);
  }
  return size;
}

Result<Target> ParseTarget(std::string_view text) {
  if (text.size() > kTargetBytesMax) return Malformed("the target is too long");
  if (!text.starts_with('/')) return Malformed("the target is not a path (it must start with '/')");
  if (text.find('#') != std::string_view::npos) return Malformed("a '#' in the target");
  const std::size_t mark = std::min(text.find('?'), text.size());
  Target target;
  std::string_view rest = text.substr(0, mark);
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the '/'
    const std::string_view segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(segment.size());
    ASSIGN_OR_RETURN(const std::string decoded, PercentDecode(segment));
    // After decoding: an encoded dot or slash is a dot or slash to whoever maps paths to anything.
    if (decoded == "." || decoded == ".." || decoded.find('/') != std::string::npos) {
      return Malformed("the path has a segment '.', '..' or one with an encoded '/'");
    }
    StrAppend(&target.path, "/", decoded);
  }
  ASSIGN_OR_RETURN(target.query, ParseQuery(text.substr(std::min(mark + 1, text.size()))));
  return target;
}

Result<std::string> PercentDecode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = text.size() - i > 2 ? HexValue(text[i + 1]) : -1;
      const int low = text.size() - i > 2 ? HexValue(text[i + 2]) : -1;
      if (high < 0 || low < 0) return Malformed("a '%' without two hexadecimal digits");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return Malformed("a control character in the target");
    decoded.push_back(c);
  }
  if (!IsUtf8(decoded)) return Malformed("the target is not UTF-8");
  return decoded;
}

std::string PercentEncode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      encoded.push_back(c);
    } else {
      encoded += {'%', kDigits[byte >> 4U], kDigits[byte & 15U]};
    }
  }
  return encoded;
}

}  // namespace starling
