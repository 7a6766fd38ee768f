#include "http/wire.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/check.h"

namespace starling {
namespace {

constexpr std::size_t kGatherBytes = std::size_t{64} << 10;

Wire& WireOf(BIO* bio) { return *static_cast<Wire*>(BIO_get_data(bio)); }

int BioWrite(BIO* bio, const char* data, std::size_t size, std::size_t* written) {
  BIO_clear_retry_flags(bio);
  const Wire::Outcome outcome = WireOf(bio).Gather(AsBytes({data, size}), *written);
  if (outcome == Wire::Outcome::kBlocked) BIO_set_retry_write(bio);
  return outcome == Wire::Outcome::kDone ? 1 : 0;
}

int BioRead(BIO* bio, char* data, std::size_t size, std::size_t* count) {
  BIO_clear_retry_flags(bio);
  const Wire::Outcome outcome =
      WireOf(bio).Read(std::as_writable_bytes(std::span(data, size)), *count);
  if (outcome == Wire::Outcome::kBlocked) BIO_set_retry_read(bio);
  if (outcome == Wire::Outcome::kDone && *count == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return outcome == Wire::Outcome::kDone && *count > 0 ? 1 : 0;
}

long BioControl(BIO* bio, int command, long /*number*/, void* /*argument*/) {
  switch (command) {
    case BIO_CTRL_FLUSH: {
      BIO_clear_retry_flags(bio);
      const Wire::Outcome outcome = WireOf(bio).Flush();
      if (outcome == Wire::Outcome::kBlocked) BIO_set_retry_write(bio);
      return outcome == Wire::Outcome::kDone ? 1 : -1;
    }
    case BIO_CTRL_EOF:
      return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    default:
      return 0;
  }
}

// One for the process; OpenSSL keeps no copy, so it stays.
const BIO_METHOD* Method() {
  static const BIO_METHOD* const kMethod = [] {
    BIO_METHOD* const made =
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "starling wire");
    CHECK(made != nullptr);
    BIO_meth_set_write_ex(made, &BioWrite);
    BIO_meth_set_read_ex(made, &BioRead);
    BIO_meth_set_ctrl(made, &BioControl);
    return made;
  }();
  return kMethod;
}

}  // namespace

Wire::Outcome Wire::Read(MutableByteSpan out, std::size_t& count) {
  count = 0;
  for (;;) {
    const ssize_t got = recv(fd(), out.data(), out.size(), 0);
    if (got >= 0) {
      count = static_cast<std::size_t>(got);
      bytes_in_ += count;
      return Outcome::kDone;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return Outcome::kBlocked;
    error_ = errno;
    return Outcome::kFailed;
  }
}

Wire::Outcome Wire::Write(ByteSpan bytes, std::size_t& count) {
  count = 0;
  for (;;) {
    const ssize_t put = send(fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (put >= 0) {
      count = static_cast<std::size_t>(put);
      bytes_out_ += count;
      return Outcome::kDone;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return Outcome::kBlocked;
    error_ = errno;
    return Outcome::kFailed;
  }
}

Wire::Outcome Wire::Flush() {
  while (sent_ < gathered_.size()) {
    std::size_t count = 0;
    const Outcome outcome = Write(ByteSpan(gathered_).subspan(sent_), count);
    if (outcome != Outcome::kDone) return outcome;
    sent_ += count;
  }
  gathered_.clear();
  sent_ = 0;
  return Outcome::kDone;
}

Wire::Outcome Wire::Gather(ByteSpan bytes, std::size_t& count) {
  count = 0;
  if (gathered_.size() + bytes.size() > kGatherBytes) {
    const Outcome outcome = Flush();
    if (outcome != Outcome::kDone) return outcome;
  }
  gathered_.insert(gathered_.end(), bytes.begin(), bytes.end());
  count = bytes.size();
  return Outcome::kDone;
}

BioPtr Wire::NewBio() {
  BioPtr bio(BIO_new(Method()));
  CHECK(bio != nullptr);
  BIO_set_data(bio.get(), this);
  BIO_set_init(bio.get(), 1);
  return bio;
}

}  // namespace starling
