// Heads and bodies over a Stream: what server and client share. Internal to http/. One thread.
#pragma once

#include <string>

#include "http/message.h"
#include "http/tls.h"

namespace starling {

// Bytes that came but belong to what is read next.
class InputBuffer {
 public:
  [[nodiscard]] std::string_view unread() const { return std::string_view(bytes_).substr(begin_); }
  void Consume(std::size_t count);
  // At least one byte more, or an error; OutOfRange at the orderly end.
  [[nodiscard]] Status Fill(Stream& stream);

 private:
  std::string bytes_;
  std::size_t begin_ = 0;
};

struct HeadLimits {
  std::size_t bytes_max = 0;
  Duration time{};  // from the first byte on
};
// A whole head, taken out of `input`. ResourceExhausted when it is longer than the limit,
// OutOfRange when the peer ended before its first byte, DeadlineExceeded with the StableCode
// too-slow when it came too slowly after the first byte.
[[nodiscard]] Result<std::string> ReadHead(Stream& stream, InputBuffer& input,
                                           const HeadLimits& limits);
// `out` whole, from `input` first.
[[nodiscard]] Status ReadExactly(Stream& stream, InputBuffer& input, MutableByteSpan out);

// A chunked body (RFC 9112, section 7.1), whole; trailers are dropped. ResourceExhausted when it is
// longer than `bytes_max`. It must have come within `time`.
[[nodiscard]] Result<std::string> ReadChunked(Stream& stream, InputBuffer& input,
                                              std::size_t bytes_max, Duration time);

// Writes a response. The head goes out with the first bytes of the body: one packet for a small
// answer.
class ResponseWriter final : public BodySink {
 public:
  ResponseWriter(Stream& stream, bool keep_alive) : stream_(stream), keep_alive_(keep_alive) {}
  // An error ends the connection. A streamed body that fails before its first byte is answered with
  // its error instead.
  [[nodiscard]] Status Send(HttpResponse response, const std::stop_token& stop);
  Status Write(ByteSpan bytes) override;

 private:
  void StartHead(const HttpResponse& response, std::uint64_t length);
  [[nodiscard]] Status SendStreamed(const StreamedBody& body, const std::stop_token& stop);

  Stream& stream_;
  const bool keep_alive_;
  std::string head_;  // not sent yet
  std::uint64_t left_ = 0;
  bool overrun_ = false;
};

}  // namespace starling
