// Files: bounded reads, durable writes (temp + fsync + rename + fsync of the folder), read-only
// maps. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/owned.h"
#include "base/result.h"

namespace starling {

[[nodiscard]] Result<std::string> ReadFile(const std::string& path,
                                           std::size_t bytes_max = 1U << 20);
// `mode` e.g. 0600 for keys. The old file stays whole until the new one is durable.
[[nodiscard]] Status WriteFileDurably(const std::string& path, std::string_view content,
                                      unsigned mode = 0644);
[[nodiscard]] Status MakeDirectories(const std::string& path, unsigned mode = 0755);

// Writes a large file piece by piece under a temporary name; Commit() fsyncs and renames. Dropped
// without Commit: removed.
class DurableFile {
 public:
  static Result<DurableFile> Create(const std::string& path, unsigned mode = 0644);
  DurableFile(DurableFile&&) noexcept = default;
  DurableFile& operator=(DurableFile&&) = delete;
  ~DurableFile();
  [[nodiscard]] Status Append(ByteSpan bytes);
  // fsync of what was appended, which stays under the temporary name.
  [[nodiscard]] Status Sync();
  // sync: fsync before the rename. Without it the rename is atomic but a power cut may lose the
  // file.
  [[nodiscard]] Status Commit(bool sync = true);

 private:
  DurableFile() = default;
  std::string path_;
  std::string temporary_;
  UniqueFd fd_;
};

// Removes what processes that were killed left of a DurableFile of this path. Only where no other
// process writes that path now. OK when there is nothing.
[[nodiscard]] Status RemoveLeftovers(const std::string& path);

// A file mapped read-only; `bytes` stays valid while `keep` lives.
[[nodiscard]] Result<Slice> MapFile(const std::string& path);
// pread of [offset, offset + out.size()); short files are OutOfRange.
[[nodiscard]] Status ReadAt(int fd, std::uint64_t offset, MutableByteSpan out);

}  // namespace starling
