#include "sl/blob_store.h"

#include <algorithm>
#include <filesystem>

#include "base/fs.h"
#include "base/text.h"

namespace starling {
namespace {

namespace stdfs = std::filesystem;
constexpr std::string_view kSuffix = ".safetensors";
constexpr std::size_t kLeavesBytesMax = std::size_t{64} << 20;
constexpr std::size_t kWriteStep = std::size_t{4} << 20;

std::string FileName(RoundId round, const Digest& root) {
  return StrCat(round.value(), "-", HexOf(root), kSuffix);
}

// "<round>-<64 hex>.safetensors".
std::optional<BlobStore::Kept> FromPath(const stdfs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  if (!name.ends_with(kSuffix)) return std::nullopt;
  const std::string stem = name.substr(0, name.size() - kSuffix.size());
  const std::size_t dash = stem.find('-');
  if (dash == 0 || dash == std::string::npos || dash > 18 ||
      stem.find_first_not_of("0123456789") != dash)
    return std::nullopt;
  const Result<Digest> root = ParseHexDigest(stem.substr(dash + 1));
  std::error_code error;
  const std::uint64_t bytes = entry.file_size(error);
  if (!root.ok() || error) return std::nullopt;
  return BlobStore::Kept{RoundId{std::stoull(stem.substr(0, dash))}, *root, bytes,
                         entry.path().string()};
}

void RemoveBlob(const std::string& path) {
  std::error_code error;
  stdfs::remove(path, error);
  stdfs::remove(path + ".leaves", error);
}

}  // namespace

Result<std::unique_ptr<BlobStore>> BlobStore::Open(const std::string& directory,
                                                   std::size_t keep_models) {
  RETURN_IF_ERROR(MakeDirectories(directory + "/models"));
  RETURN_IF_ERROR(MakeDirectories(directory + "/updates"));
  std::unique_ptr<BlobStore> store(new BlobStore(directory, keep_models));
  for (const auto& [folder, table] :
       {std::pair{"/models", &store->models_}, {"/updates", &store->updates_}}) {
    std::error_code error;
    for (const stdfs::directory_entry& entry :
         stdfs::directory_iterator(directory + folder, error)) {
      if (const std::optional<Kept> kept = FromPath(entry)) (*table)[kept->root] = *kept;
    }
    if (error) return absl::UnavailableError(StrCat(directory, folder, ": ", error.message()));
    store->OrderByTime(*table);
  }
  return store;
}

// As they were written, so far as the disk tells.
void BlobStore::OrderByTime(std::map<Digest, Kept>& table) {
  std::vector<std::pair<stdfs::file_time_type, Kept*>> all;
  for (auto& [root, kept] : table) {
    std::error_code error;  // Without a time it counts as old.
    all.emplace_back(stdfs::last_write_time(kept.path, error), &kept);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first, a.second->round) < std::pair(b.first, b.second->round);
  });
  for (const auto& [time, kept] : all) kept->order = ++order_;
}

Status BlobStore::Write(const std::string& path, ByteSpan blob, std::span<const Digest> leaves,
                        bool sync) const {
  ASSIGN_OR_RETURN(DurableFile list, DurableFile::Create(path + ".leaves"));
  RETURN_IF_ERROR(list.Append(EncodeLeaves(leaves)));
  RETURN_IF_ERROR(list.Commit(sync));
  ASSIGN_OR_RETURN(DurableFile file, DurableFile::Create(path));
  for (std::size_t at = 0; at < blob.size(); at += kWriteStep)
    RETURN_IF_ERROR(file.Append(blob.subspan(at, std::min(kWriteStep, blob.size() - at))));
  return file.Commit(sync);
}

Status BlobStore::KeepModel(RoundId round, const Digest& root, ByteSpan blob,
                            std::span<const Digest> leaves, bool sync) {
  const std::string path = StrCat(directory_, "/models/", FileName(round, root));
  RETURN_IF_ERROR(Write(path, blob, leaves, sync));
  std::string replaced;
  {
    const std::scoped_lock lock(mutex_);
    const auto known = models_.find(root);  // A round may bring the same model again.
    if (known != models_.end() && known->second.path != path) replaced = known->second.path;
    models_[root] = Kept{round, root, blob.size(), path, ++order_};
  }
  if (!replaced.empty()) RemoveBlob(replaced);
  Prune();
  return absl::OkStatus();
}

Status BlobStore::KeepUpdate(RoundId round, const Digest& root, ByteSpan blob,
                             std::span<const Digest> leaves, bool sync) {
  const std::string path = StrCat(directory_, "/updates/", FileName(round, root));
  RETURN_IF_ERROR(Write(path, blob, leaves, sync));
  const std::scoped_lock lock(mutex_);
  updates_[root] = Kept{round, root, blob.size(), path, ++order_};
  return absl::OkStatus();
}

void BlobStore::DropUpdate(const Digest& root, bool archive) {
  std::string path;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = updates_.find(root);
    if (found == updates_.end()) return;
    path = found->second.path;
    updates_.erase(found);
  }
  if (!archive) RemoveBlob(path);
}

void BlobStore::DropModel(const Digest& root) {
  std::string path;
  {
    const std::scoped_lock lock(mutex_);
    const auto found = models_.find(root);
    if (found == models_.end() || pinned_.contains(root)) return;
    path = found->second.path;
    models_.erase(found);
  }
  RemoveBlob(path);
}

void BlobStore::Pin(const Digest& root) {
  const std::scoped_lock lock(mutex_);
  pinned_.insert(root);
}

void BlobStore::Need(std::set<Digest> roots) {
  const std::scoped_lock lock(mutex_);
  needed_ = std::move(roots);
}

// Removes the oldest beyond the limit. An open map of a removed file stays readable.
void BlobStore::Prune() {
  std::vector<Kept> old;
  {
    const std::scoped_lock lock(mutex_);
    std::vector<Kept> all;
    for (const auto& [root, kept] : models_) {
      if (!pinned_.contains(root)) all.push_back(kept);
    }
    if (all.size() <= keep_models_) return;
    std::sort(all.begin(), all.end(),
              [](const Kept& a, const Kept& b) { return a.order < b.order; });
    old.assign(all.begin(), all.end() - static_cast<std::ptrdiff_t>(keep_models_));
    std::erase_if(old, [this](const Kept& kept) { return needed_.contains(kept.root); });
    for (const Kept& kept : old) models_.erase(kept.root);
  }
  for (const Kept& kept : old) RemoveBlob(kept.path);
}

std::optional<BlobStore::Kept> BlobStore::FindModel(const Digest& root) const {
  const std::scoped_lock lock(mutex_);
  const auto it = models_.find(root);
  return it == models_.end() ? std::nullopt : std::optional<Kept>(it->second);
}

std::vector<BlobStore::Kept> BlobStore::Models() const {
  const std::scoped_lock lock(mutex_);
  std::vector<Kept> all;
  for (const auto& [root, kept] : models_) all.push_back(kept);
  std::sort(all.begin(), all.end(), [](const Kept& a, const Kept& b) { return a.round < b.round; });
  return all;
}

Result<BlobStore::Blob> BlobStore::OpenModel(const Digest& root) const {
  const std::optional<Kept> kept = FindModel(root);
  if (!kept) return absl::NotFoundError(StrCat("model ", ShortText(root), " is not kept here"));
  return OpenKept(*kept);
}

Result<BlobStore::Blob> BlobStore::OpenUpdate(const Digest& root) const {
  std::optional<Kept> kept;
  {
    const std::scoped_lock lock(mutex_);
    if (const auto found = updates_.find(root); found != updates_.end()) kept = found->second;
  }
  if (!kept) return absl::NotFoundError(StrCat("update ", ShortText(root), " is not kept here"));
  return OpenKept(*kept);
}

Result<BlobStore::Blob> BlobStore::OpenKept(const Kept& kept) {
  Blob blob;
  ASSIGN_OR_RETURN(blob.slice, MapFile(kept.path));
  ASSIGN_OR_RETURN(const std::string list, ReadFile(kept.path + ".leaves", kLeavesBytesMax));
  ASSIGN_OR_RETURN(blob.leaves, DecodeLeaves(AsBytes(list), blob.slice.bytes.size(), kept.root));
  return blob;
}

BlobStore::Proven BlobStore::Prove(std::size_t newest) const {
  const auto prove = [&](const std::map<Digest, Kept>& table, std::set<Digest>& proven) {
    std::vector<Kept> all;
    {
      const std::scoped_lock lock(mutex_);
      for (const auto& [root, kept] : table) all.push_back(kept);
    }
    std::sort(all.begin(), all.end(),
              [](const Kept& a, const Kept& b) { return a.order > b.order; });
    if (all.size() > newest) all.resize(newest);
    for (const Kept& kept : all) {
      const Result<Slice> file = MapFile(kept.path);
      if (file.ok() && RootOf(file->bytes) == kept.root) proven.insert(kept.root);
    }
  };
  Proven proven;
  prove(updates_, proven.updates);
  prove(models_, proven.models);
  return proven;
}

}  // namespace starling
