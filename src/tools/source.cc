#include "tools/source.h"

#include <filesystem>
#include <utility>

#include "base/fs.h"
#include "base/text.h"
#include "crypto/merkle.h"

namespace starling {
namespace {

namespace stdfs = std::filesystem;
constexpr std::string_view kBlobSuffix = ".safetensors";
constexpr std::size_t kFilesMax = 1'000'000;
constexpr std::size_t kLeafListBytesMax = std::size_t{64} << 20;

// "<round>-<64 hex>.safetensors"; other files are not ours.
std::optional<Digest> RootInName(const std::string& name) {
  if (!name.ends_with(kBlobSuffix)) return std::nullopt;
  const std::string stem = name.substr(0, name.size() - kBlobSuffix.size());
  const std::size_t dash = stem.rfind('-');
  if (dash == std::string::npos) return std::nullopt;
  const Result<Digest> root = ParseHexDigest(stem.substr(dash + 1));
  if (!root.ok()) return std::nullopt;
  return *root;
}

void AddFile(const stdfs::path& path, std::multimap<Digest, StoredBlob>& found) {
  if (const std::optional<Digest> root = RootInName(path.filename().string()))
    found.emplace(*root, StoredBlob{path.string(), *root});
}

}  // namespace

Result<std::string> FindLedger(const std::string& path) {
  std::error_code error;
  if (stdfs::is_regular_file(path, error)) return path;
  if (!stdfs::is_directory(path, error)) {
    return WithNext(absl::NotFoundError(StrCat(path, ": no such file or directory")),
                    "name the directory of a run, or a ledger.db");
  }
  const stdfs::path here = stdfs::path(path) / "ledger.db";
  if (stdfs::is_regular_file(here, error)) return here.string();
  const stdfs::path below = stdfs::path(path) / "sn" / "ledger.db";
  if (stdfs::is_regular_file(below, error)) return below.string();
  return WithNext(absl::NotFoundError(StrCat(path, ": holds no ledger.db, nor does its folder sn")),
                  "name the directory that `starling run` or `starling demo` printed");
}

Result<Story> ReadStory(const std::string& ledger_path) {
  ASSIGN_OR_RETURN(const std::vector<LedgerRecord> records, ReadEmbeddedLedger(ledger_path));
  Story story;
  for (const LedgerRecord& record : records)
    RETURN_IF_ERROR(Annotate(story.Add(record), ledger_path));
  return story;
}

Result<std::vector<LedgerRecord>> FetchRecords(HttpClient& client, const Endpoint& sn,
                                               std::int64_t from, Duration wait,
                                               const std::stop_token& stop) {
  ClientRequest request;
  request.target = StrCat("/v1/entries?from=", from, "&wait=", Millis(wait));
  request.idle_timeout = wait + 10s;
  ASSIGN_OR_RETURN(const Json answer, client.DoJson(sn, request, stop));
  ASSIGN_OR_RETURN(const Json* const entries, GetArray(answer, "entries", 1000));
  std::vector<LedgerRecord> records;
  for (const Json& entry : *entries) {
    LedgerRecord& record = records.emplace_back();
    ASSIGN_OR_RETURN(const std::uint64_t position, GetUint(entry, "position"));
    ASSIGN_OR_RETURN(const std::uint64_t time, GetUint(entry, "time_unix_ms"));
    ASSIGN_OR_RETURN(const std::string head, GetString(entry, "head"));
    ASSIGN_OR_RETURN(record.head, ParseHexDigest(head));
    ASSIGN_OR_RETURN(record.entry, GetString(entry, "entry", kAppendBytesMax));
    record.position = static_cast<std::int64_t>(position);
    record.time_unix_ms = static_cast<std::int64_t>(time);
  }
  return records;
}

Result<std::multimap<Digest, StoredBlob>> FindBlobs(const std::vector<std::string>& paths) {
  std::multimap<Digest, StoredBlob> found;
  std::size_t seen = 0;
  for (const std::string& path : paths) {
    std::error_code error;
    if (stdfs::is_regular_file(path, error)) AddFile(path, found);
    if (!stdfs::is_directory(path, error)) continue;
    for (stdfs::recursive_directory_iterator
             it(path, stdfs::directory_options::skip_permission_denied, error),
         end;
         it != end; it.increment(error)) {
      if (error) return absl::UnavailableError(StrCat(path, ": ", error.message()));
      if (++seen > kFilesMax)
        return absl::ResourceExhaustedError(StrCat(path, ": more than ", kFilesMax, " files"));
      if (it->is_regular_file(error) && !it->is_symlink(error)) AddFile(it->path(), found);
    }
  }
  return found;
}

Status CheckBlob(const StoredBlob& blob) {
  ASSIGN_OR_RETURN(const Slice slice, MapFile(blob.path));
  const LeafList leaves = LeavesOf(slice.bytes);
  if (RootOfLeaves(leaves) == blob.root) return absl::OkStatus();
  const auto altered = [&](std::string_view what) {
    return WithCode(absl::DataLossError(StrCat(blob.path, ": ", what)), "blob-altered");
  };
  const Result<std::string> kept = ReadFile(blob.path + ".leaves", kLeafListBytesMax);
  if (!kept.ok())
    return altered(
        "its bytes do not give the root in its name (no leaf list beside it to say which chunk)");
  const Result<LeafList> right =
      DecodeLeaves(AsBytes(*kept), kept->size() / 32 * kChunkBytes, blob.root);
  if (!right.ok())
    return altered("its bytes and the leaf list beside it do not give the root in its name");
  for (std::size_t i = 0; i < right->size() && i < leaves.size(); ++i) {
    if ((*right)[i] != leaves[i])
      return altered(StrCat("chunk ", i, " of ", right->size(), " differs"));
  }
  return altered(StrCat("holds ", leaves.size(), " chunks instead of ", right->size()));
}

}  // namespace starling
