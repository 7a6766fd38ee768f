// Wire: the bytes between a socket and whoever speaks over it (OpenSSL through a BIO, or a plain
// stream). Counts them, gathers writes, and never raises SIGPIPE. Internal to http/. One thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/owned.h"
#include "openssl/bio.h"

namespace starling {

using BioPtr = Owned<BIO, &BIO_free>;

class Wire {
 public:
  explicit Wire(UniqueFd socket) : socket_(std::move(socket)) {}
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  enum class Outcome : std::uint8_t { kDone, kBlocked, kFailed };
  // kDone with `count` = 0 is the end. kFailed: see error().
  Outcome Read(MutableByteSpan out, std::size_t& count);
  // Sends at once what it can.
  Outcome Write(ByteSpan bytes, std::size_t& count);
  // Gathers: records of 16 KiB would cost a system call each. Blocked only while the gathered bytes
  // do not fit the socket.
  Outcome Gather(ByteSpan bytes, std::size_t& count);
  Outcome Flush();

  // A BIO over this wire, which must outlive it.
  [[nodiscard]] BioPtr NewBio();
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] int error() const { return error_; }  // errno of the last failure
  [[nodiscard]] std::uint64_t bytes_in() const { return bytes_in_; }
  [[nodiscard]] std::uint64_t bytes_out() const { return bytes_out_; }

 private:
  const UniqueFd socket_;
  Bytes gathered_;
  std::size_t sent_ = 0;  // of gathered_
  int error_ = 0;
  std::uint64_t bytes_in_ = 0;
  std::uint64_t bytes_out_ = 0;
};

}  // namespace starling
