// Arena: a memfd shared with the training program. Its size is sealed before anyone maps it, so no
// mapping can fault on a shrunk file. (A file in a directory cannot be sealed: there the program is
// trusted not to cut it.) The last kControlBytes are the control page
// (docs/formats/bridge.md). Owned once; the mapping may be read by any thread, who may write when
// is the bridge's rule.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/owned.h"
#include "base/result.h"

namespace starling {

inline constexpr std::uint64_t kControlBytes = 4096;

class Arena {
 public:
  // `blob_bytes` of blob, padded to 4,096, plus the control page. With `directory` an unlinked file
  // there instead of a memfd.
  static Result<std::unique_ptr<Arena>> Create(std::uint64_t blob_bytes,
                                               const std::string& directory = "");
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::uint64_t arena_bytes() const { return arena_bytes_; }
  [[nodiscard]] ByteSpan blob() const { return {base_, blob_bytes_}; }
  [[nodiscard]] MutableByteSpan mutable_blob() { return {base_, blob_bytes_}; }
  void SetAttention(bool on);

 private:
  Arena() = default;
  UniqueFd fd_;
  std::byte* base_ = nullptr;
  std::uint64_t blob_bytes_ = 0;
  std::uint64_t arena_bytes_ = 0;
};

}  // namespace starling
