// BlobStore: merged models and, if asked, own updates as files: <dir>/models/<round>-<root
// hex>.safetensors and <dir>/updates/…, each with its leaf list beside it (`.leaves`). Files appear
// whole (temporary name, rename). Any thread; Keep* block on the disk.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/merkle.h"
#include "protocol/ids.h"

namespace starling {

class BlobStore {
 public:
  // Finds what an earlier run left. The `keep_models` merged models that were kept last stay;
  // pinned and needed ones always.
  static Result<std::unique_ptr<BlobStore>> Open(const std::string& directory,
                                                 std::size_t keep_models);

  struct Kept {
    RoundId round;
    Digest root;
    std::uint64_t bytes = 0;
    std::string path;
    std::uint64_t order =
        0;  // kept after those with a lower one; rounds begin anew with a training
  };
  // sync: durable on return. Prunes old models afterwards.
  [[nodiscard]] Status KeepModel(RoundId round, const Digest& root, ByteSpan blob,
                                 std::span<const Digest> leaves, bool sync);
  [[nodiscard]] Status KeepUpdate(RoundId round, const Digest& root, ByteSpan blob,
                                  std::span<const Digest> leaves, bool sync);
  // Forgets an update, and deletes its file unless updates are archived.
  void DropUpdate(const Digest& root, bool archive);
  void DropModel(const Digest& root);
  void Pin(const Digest& root);  // stays for good
  // These models stay until others are named: the base, those of an open round's attempts.
  void Need(std::set<Digest> roots);
  [[nodiscard]] std::optional<Kept> FindModel(const Digest& root) const;
  [[nodiscard]] std::vector<Kept> Models() const;
  // The kept file mapped, and its leaves (from the list beside it, checked against the root).
  struct Blob {
    Slice slice;
    LeafList leaves;
  };
  [[nodiscard]] Result<Blob> OpenModel(const Digest& root) const;
  [[nodiscard]] Result<Blob> OpenUpdate(const Digest& root) const;
  // Of what an earlier run left: those among the `newest` of either kind whose bytes give their
  // root. Reads them whole.
  struct Proven {
    std::set<Digest> updates, models;
  };
  [[nodiscard]] Proven Prove(std::size_t newest) const;

 private:
  BlobStore(std::string directory, std::size_t keep_models)
      : directory_(std::move(directory)), keep_models_(keep_models) {}
  [[nodiscard]] Status Write(const std::string& path, ByteSpan blob, std::span<const Digest> leaves,
                             bool sync) const;
  void OrderByTime(std::map<Digest, Kept>& table);
  void Prune();
  [[nodiscard]] static Result<Blob> OpenKept(const Kept& kept);

  const std::string directory_;
  const std::size_t keep_models_;
  mutable std::mutex mutex_;  // guards the table, never held over I/O on models
  std::map<Digest, Kept> models_;
  std::map<Digest, Kept> updates_;
  std::set<Digest> pinned_, needed_;
  std::uint64_t order_ = 0;
};

}  // namespace starling
