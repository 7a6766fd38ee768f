#include "kube/overlay_folder.h"

#include <filesystem>
#include <set>
#include <sstream>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/text.h"
#include "crypto/sha256.h"

namespace starling::kube {
namespace {

constexpr std::string_view kMarker = ".starling-import";
constexpr std::size_t kMarkerBytesMax = std::size_t{256} << 10;
constexpr std::size_t kFileBytesMax = std::size_t{256} << 20;
constexpr unsigned kMode = 0600;  // There may be Secrets in it.
constexpr std::size_t kHashDigits = 64;
constexpr std::string_view kBetween = "  ";  // as sha256sum writes it

// What an import wrote, and may replace: names, and the hashes of their contents. Several of one
// name while an import is under way.
using Written = std::map<std::string, std::set<std::string>>;

std::string Hash(const std::string& text) { return HexOf(HashOf(AsBytes(text))); }

// A name with a slash is none of ours.
Result<Written> ReadMarker(const std::string& marker) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(marker, kMarkerBytesMax));
  Written out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t at = line.find(kBetween);
    if (at != kHashDigits || !line.ends_with(".yaml") || line.find('/') != std::string::npos)
      continue;
    out[line.substr(at + kBetween.size())].insert(line.substr(0, at));
  }
  return out;
}

Status WriteMarker(const std::string& marker, const Written& written) {
  std::string text;
  for (const auto& [name, hashes] : written) {
    for (const std::string& hash : hashes) StrAppend(&text, hash, kBetween, name, "\n");
  }
  return WriteFileDurably(marker, text, kMode);
}

Status Refused(const std::string& path, std::string_view what, std::string_view next) {
  return WithNext(
      WithCode(absl::AlreadyExistsError(StrCat(Printable(path), " ", what)), "not-ours"), next);
}

constexpr std::string_view kNobodys = "is there, and no import made it";

// Whether what stands at `path`, if anything does, is as an import left it.
Status CheckUnedited(const std::string& path, const std::string& name, const Written& written) {
  constexpr std::string_view kNext = "move it away, or --force to replace it";
  std::error_code error;
  const std::filesystem::file_type type = std::filesystem::symlink_status(path, error).type();
  if (type == std::filesystem::file_type::not_found) return absl::OkStatus();
  const auto found = written.find(name);
  if (found == written.end() || type != std::filesystem::file_type::regular)
    return Refused(path, kNobodys, kNext);
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kFileBytesMax));
  if (found->second.contains(Hash(text))) return absl::OkStatus();
  return Refused(path, "was edited since an import made it",
                 "keep the edit in an overlay over this one and move the file away, or --force to "
                 "replace it");
}

}  // namespace

Status WriteOverlay(const std::string& folder, const std::map<std::string, std::string>& files,
                    bool force) {
  std::error_code error;
  const std::string marker = StrCat(folder, "/", kMarker);
  const auto path_of = [&](const std::string& name) { return StrCat(folder, "/", name); };
  Written old;
  if (std::filesystem::is_regular_file(marker, error)) {
    ASSIGN_OR_RETURN(old, ReadMarker(marker));
  } else if (std::filesystem::exists(folder, error) && !force) {
    const bool is_folder = std::filesystem::is_directory(folder, error);
    if (!is_folder || !std::filesystem::is_empty(folder, error))
      return Refused(folder, kNobodys, "give another folder, or --force to write into this one");
  }
  Written made;
  for (const auto& [name, text] : files) made[name].insert(Hash(text));
  // First, with old files and new: an import that was cut off can be repeated.
  Written all = made;
  for (const auto& [name, hashes] : old) all[name].insert(hashes.begin(), hashes.end());
  for (const auto& [name, hashes] : all) {
    if (!force) RETURN_IF_ERROR(CheckUnedited(path_of(name), name, old));
  }
  RETURN_IF_ERROR(MakeDirectories(folder));
  RETURN_IF_ERROR(WriteMarker(marker, all));
  for (const auto& [name, text] : files)
    RETURN_IF_ERROR(WriteFileDurably(path_of(name), text, kMode));
  for (const auto& [name, hashes] : old) {
    // What was edited stays, also by force: nothing comes in its place.
    if (!made.contains(name) && CheckUnedited(path_of(name), name, old).ok())
      std::filesystem::remove(path_of(name), error);
  }
  return WriteMarker(marker, made);
}

}  // namespace starling::kube
