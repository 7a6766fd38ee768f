// BlobStore: merged models and, if asked, own updates as files: <dir>/models/<round>-<root
// hex>.safetensors and <dir>/updates/…, each with its leaf list beside it (`.leaves`). Files appear
// whole (temporary name, rename). Any thread; Keep* block on the disk.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/merkle.h"
#include "protocol/ids.h"

namespace starling {

class BlobStore {
 public:
  // Finds what an earlier run left. `keep_models` newest merged models stay; pinned ones always.
  static Result<std::unique_ptr<BlobStore>> Open(const std::string& directory,
                                                 std::size_t keep_models);

  struct Kept {
    RoundId round;
    Digest root;
    std::uint64_t bytes = 0;
    std::string path;
  };
  // sync: durable on return. Prunes old models afterwards.
  [[nodiscard]] Status KeepModel(RoundId round, const Digest& root, ByteSpan blob,
                                 std::span<const Digest> leaves, bool sync);
  [[nodiscard]] Status KeepUpdate(RoundId round, const Digest& root, ByteSpan blob,
                                  std::span<const Digest> leaves);
  void Pin(const Digest& root);
  [[nodiscard]] std::optional<Kept> FindModel(const Digest& root) const;
  [[nodiscard]] std::vector<Kept> Models() const;
  // The kept file mapped, and its leaves (from the list beside it, checked against the root).
  struct Blob {
    Slice slice;
    LeafList leaves;
  };
  [[nodiscard]] Result<Blob> OpenModel(const Digest& root) const;

 private:
  BlobStore(std::string directory, std::size_t keep_models)
      : directory_(std::move(directory)), keep_models_(keep_models) {}
  [[nodiscard]] Status Write(const std::string& path, ByteSpan blob, std::span<const Digest> leaves,
                             bool sync) const;
  void Prune();

  const std::string directory_;
  const std::size_t keep_models_;
  mutable std::mutex mutex_;  // guards the table, never held over I/O on models
  std::map<Digest, Kept> models_;
  std::optional<Digest> pinned_;
};

}  // namespace starling
