#include "http/message_io.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "boost/beast/http/status.hpp"
#include "http/request_parser.h"

namespace starling {
namespace {

constexpr std::size_t kReadBytes =
    4096;  // heads are small; bodies are read straight to their place
constexpr std::size_t kCoalesceBytes = 16384;  // one TLS record

// A handler may have put anything into a header; a line break there would be another header.
std::string OneLine(std::string_view value) {
  std::string line(value);
  std::erase_if(line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  return line;
}

std::string HeadText(const HttpResponse& response, std::uint64_t length, bool keep_alive) {
  const auto reason = boost::beast::http::obsolete_reason(
      boost::beast::http::int_to_status(static_cast<unsigned>(response.status)));
  std::string head = StrCat("HTTP/1.1 ", response.status, " ",
                            std::string_view(reason.data(), reason.size()), "\r\n");
  for (const auto& [name, value] : response.headers)
    StrAppend(&head, name, ": ", OneLine(value), "\r\n");
  StrAppend(&head, "content-length: ", length, "\r\n");
  if (!keep_alive) head += "connection: close\r\n";
  head += "\r\n";
  return head;
}

}  // namespace

void InputBuffer::Consume(std::size_t count) {
  begin_ += count;
  if (begin_ == bytes_.size()) {
    bytes_.clear();
    begin_ = 0;
  }
}

Status InputBuffer::Fill(Stream& stream) {
  bytes_.erase(0, std::exchange(begin_, 0));
  const std::size_t before = bytes_.size();
  bytes_.resize(before + kReadBytes);
  const Result<std::size_t> count =
      stream.ReadSome(std::as_writable_bytes(std::span(bytes_).subspan(before)));
  bytes_.resize(before + (count.ok() ? *count : 0));
  RETURN_IF_ERROR(count.status());
  return *count > 0 ? absl::OkStatus() : absl::OutOfRangeError("the peer closed the connection");
}

Result<std::string> ReadHead(Stream& stream, InputBuffer& input, const HeadLimits& limits) {
  if (input.unread().empty()) RETURN_IF_ERROR(input.Fill(stream));
  if (const char first = input.unread().front(); first < 'A' || first > 'Z') {
    // Said at once: whoever speaks another protocol here would wait for us as we for it.
    return WithCode(absl::InvalidArgumentError("this is not HTTP"), "malformed");
  }
  stream.set_deadline_in(limits.time);
  for (;;) {
    const std::string_view unread = input.unread();
    const std::optional<std::size_t> length = HeadLength(unread.substr(0, limits.bytes_max));
    if (length) {
      std::string head(unread.substr(0, *length));
      input.Consume(*length);
      stream.set_deadline_in(Duration::zero());
      return head;
    }
    if (unread.size() >= limits.bytes_max) {
      return WithCode(absl::ResourceExhaustedError(
                          StrCat("the header is longer than ", limits.bytes_max, " bytes")),
                      "header-too-large");
    }
    const Status status = input.Fill(stream);
    if (absl::IsDeadlineExceeded(status)) {
      return WithCode(absl::DeadlineExceededError("the header came too slowly"), "too-slow");
    }
    if (absl::IsOutOfRange(status))
      return absl::UnavailableError("the peer closed the connection within a header");
    RETURN_IF_ERROR(status);
  }
}

Status ReadExactly(Stream& stream, InputBuffer& input, MutableByteSpan out) {
  const std::size_t buffered = std::min(out.size(), input.unread().size());
  std::ranges::copy(AsBytes(input.unread().substr(0, buffered)), out.begin());
  input.Consume(buffered);
  out = out.subspan(buffered);
  while (!out.empty()) {
    ASSIGN_OR_RETURN(const std::size_t count, stream.ReadSome(out));
    if (count == 0) return absl::UnavailableError("the peer closed the connection within a body");
    out = out.subspan(count);
  }
  return absl::OkStatus();
}

namespace {

// A line without its line break.
Result<std::string> ReadLine(Stream& stream, InputBuffer& input, std::size_t bytes_max) {
  for (;;) {
    const std::size_t end = input.unread().substr(0, bytes_max + 2).find("\r\n");
    if (end != std::string_view::npos) {
      std::string line(input.unread().substr(0, end));
      input.Consume(end + 2);
      return line;
    }
    if (input.unread().size() >= bytes_max + 2) return absl::UnavailableError("a line is too long");
    const Status status = input.Fill(stream);
    if (absl::IsOutOfRange(status))
      return absl::UnavailableError("the peer closed the connection within a body");
    RETURN_IF_ERROR(status);
  }
}

Result<std::string> ReadChunks(Stream& stream, InputBuffer& input, std::size_t bytes_max) {
  constexpr std::size_t kLineBytesMax = 1024;
  constexpr int kTrailersMax = 32;
  std::string body;
  for (;;) {
    ASSIGN_OR_RETURN(const std::string line, ReadLine(stream, input, kLineBytesMax));
    const Result<std::uint64_t> size = ParseChunkSize(line);
    if (!size.ok()) return absl::UnavailableError(size.status().message());
    if (*size == 0) break;
    if (*size > bytes_max - body.size()) {
      return absl::ResourceExhaustedError(
          StrCat("an answer of more than ", bytes_max, " bytes, which is the most that is taken"));
    }
    const std::size_t before = body.size();
    body.resize(before + *size);
    RETURN_IF_ERROR(
        ReadExactly(stream, input, std::as_writable_bytes(std::span(body).subspan(before))));
    ASSIGN_OR_RETURN(const std::string end, ReadLine(stream, input, kLineBytesMax));
    if (!end.empty()) return absl::UnavailableError("a chunk is longer than it says");
  }
  for (int i = 0; i < kTrailersMax; ++i) {
    ASSIGN_OR_RETURN(const std::string trailer, ReadLine(stream, input, kLineBytesMax));
    if (trailer.empty()) return body;
  }
  return absl::UnavailableError("too many trailers");
}

}  // namespace

Result<std::string> ReadChunked(Stream& stream, InputBuffer& input, std::size_t bytes_max,
                                Duration time) {
  stream.set_deadline_in(time);
  Result<std::string> body = ReadChunks(stream, input, bytes_max);
  stream.set_deadline_in(Duration::zero());
  return body;
}

void ResponseWriter::StartHead(const HttpResponse& response, std::uint64_t length) {
  head_ = HeadText(response, length, keep_alive_);
  left_ = length;
}

Status ResponseWriter::Write(ByteSpan bytes) {
  if (bytes.size() > left_) {
    overrun_ = true;
    return absl::InternalError("a body longer than was announced");
  }
  left_ -= bytes.size();
  if (!head_.empty()) {
    const std::size_t taken =
        std::min(bytes.size(), kCoalesceBytes - std::min(kCoalesceBytes, head_.size()));
    std::string first = std::exchange(head_, std::string());
    first.append(AsText(bytes.first(taken)));
    bytes = bytes.subspan(taken);
    RETURN_IF_ERROR(stream_.WriteAll(AsBytes(first)));
  }
  return bytes.empty() ? absl::OkStatus() : stream_.WriteAll(bytes);
}

Status ResponseWriter::SendStreamed(const StreamedBody& body, const std::stop_token& stop) {
  const Status status = body.write(*this, stop);
  if (!status.ok() && !head_.empty() && !overrun_) {
    const HttpResponse problem = ProblemResponse(status);
    const std::string& text = std::get<std::string>(problem.body);
    StartHead(problem, text.size());
    return Write(AsBytes(text));
  }
  RETURN_IF_ERROR(status);
  if (overrun_ || left_ > 0)
    return absl::InternalError("a body of another length than was announced");
  return head_.empty() ? absl::OkStatus() : Write({});
}

Status ResponseWriter::Send(HttpResponse response, const std::stop_token& stop) {
  if (const auto* const text = std::get_if<std::string>(&response.body)) {
    StartHead(response, text->size());
    return Write(AsBytes(*text));
  }
  if (const auto* const slice = std::get_if<Slice>(&response.body)) {
    StartHead(response, slice->bytes.size());
    return Write(slice->bytes);
  }
  const auto& streamed = std::get<StreamedBody>(response.body);
  StartHead(response, streamed.length);
  return SendStreamed(streamed, stop);
}

}  // namespace starling
