#include "sl/window.h"

#include <utility>

#include "base/check.h"

namespace starling {

ChunkWindow::ChunkWindow(std::size_t width) : buffers_(width) {
  CHECK(width > 0);
  for (Buffer& buffer : buffers_)
    buffer.bytes = std::make_unique_for_overwrite<std::byte[]>(kChunkBytes);
}

Result<MutableByteSpan> ChunkWindow::Acquire(std::uint64_t slot, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, stop, [&] { return closed_ || slot < consumed_ + buffers_.size(); });
  if (closed_ || stop.stop_requested()) return absl::CancelledError("the merge was given up");
  return MutableByteSpan(buffers_[slot % buffers_.size()].bytes.get(), kChunkBytes);
}

void ChunkWindow::Fill(std::uint64_t slot, std::size_t bytes) {
  const std::scoped_lock lock(mutex_);
  Buffer& buffer = buffers_[slot % buffers_.size()];
  buffer.size = bytes;
  buffer.full = true;
  changed_.notify_all();
}

Result<ByteSpan> ChunkWindow::Take(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  const Buffer& buffer = buffers_[consumed_ % buffers_.size()];
  changed_.wait(lock, stop, [&] { return closed_ || buffer.full; });
  if (closed_) return error_;
  if (!buffer.full) return absl::CancelledError("the merge was given up");
  return ByteSpan(buffer.bytes.get(), buffer.size);
}

void ChunkWindow::Release() {
  const std::scoped_lock lock(mutex_);
  buffers_[consumed_ % buffers_.size()].full = false;
  ++consumed_;
  changed_.notify_all();
}

void ChunkWindow::Close(Status error) {
  const std::scoped_lock lock(mutex_);
  if (!closed_)
    error_ = error.ok() ? absl::CancelledError("the merge was given up") : std::move(error);
  closed_ = true;
  changed_.notify_all();
}

}  // namespace starling
