#include "kube/overlay_folder.h"

#include <filesystem>
#include <set>
#include <sstream>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/text.h"

namespace starling::kube {
namespace {

constexpr std::string_view kMarker = ".starling-import";
constexpr std::size_t kMarkerBytesMax = std::size_t{256} << 10;

// The files of an earlier import. A name with a slash is none of ours.
Result<std::set<std::string>> MarkedFiles(const std::string& marker) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(marker, kMarkerBytesMax));
  std::set<std::string> out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with(".yaml") && line.find('/') == std::string::npos) out.insert(line);
  }
  return out;
}

}  // namespace

Status WriteOverlay(const std::string& folder, const std::map<std::string, std::string>& files,
                    bool force) {
  std::error_code error;
  const std::string marker = StrCat(folder, "/", kMarker);
  std::set<std::string> old;
  if (std::filesystem::is_regular_file(marker, error)) {
    ASSIGN_OR_RETURN(old, MarkedFiles(marker));
  } else if (std::filesystem::exists(folder, error) && !force) {
    const bool is_folder = std::filesystem::is_directory(folder, error);
    if (!is_folder || !std::filesystem::is_empty(folder, error)) {
      return WithNext(WithCode(absl::AlreadyExistsError(
                                   StrCat(Printable(folder), " is there, and no import made it")),
                               "not-ours"),
                      "give another folder, or --force to write into this one");
    }
  }
  RETURN_IF_ERROR(MakeDirectories(folder));
  // First, with old names and new: an import that was cut off can be repeated.
  std::set<std::string> all = old;
  std::string names;
  for (const auto& [name, text] : files) {
    all.insert(name);
    StrAppend(&names, name, "\n");
  }
  std::string all_names;
  for (const std::string& name : all) StrAppend(&all_names, name, "\n");
  RETURN_IF_ERROR(WriteFileDurably(marker, all_names));
  for (const auto& [name, text] : files)
    RETURN_IF_ERROR(WriteFileDurably(StrCat(folder, "/", name), text));
  for (const std::string& name : old) {
    if (!files.contains(name)) std::filesystem::remove(StrCat(folder, "/", name), error);
  }
  return WriteFileDurably(marker, names);
}

}  // namespace starling::kube
