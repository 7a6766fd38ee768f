// ChunkWindow: the few chunk buffers between the threads that pull updates and the one that merges
// them. Slots are numbered in the order of the merge (chunk by chunk, source by source); slot s may
// be filled while s < consumed + width, so memory is bounded whatever the number of sources, and no
// source can starve another. One consumer; each slot has one producer.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/result.h"

namespace starling {

class ChunkWindow {
 public:
  explicit ChunkWindow(std::size_t width);

  // Producer: a buffer of one chunk for slot `s`; Cancelled when the window was closed or `stop`
  // came.
  [[nodiscard]] Result<MutableByteSpan> Acquire(std::uint64_t slot, const std::stop_token& stop);
  void Fill(std::uint64_t slot, std::size_t bytes);
  // Consumer: the bytes of the next slot, valid until Release. The error is the first that a
  // producer reported.
  [[nodiscard]] Result<ByteSpan> Take(const std::stop_token& stop);
  void Release();
  // Any: wakes everybody; the first error wins.
  void Close(Status error);

 private:
  struct Buffer {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t size = 0;
    bool full = false;
  };
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<Buffer> buffers_;
  std::uint64_t consumed_ = 0;
  Status error_;
  bool closed_ = false;
};

}  // namespace starling
