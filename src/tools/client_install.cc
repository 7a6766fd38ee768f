#include "tools/client_install.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/errno.h"
#include "base/fs.h"
#include "base/owned.h"
#include "base/text.h"

namespace starling {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kFilesMax = 1000;
constexpr std::string_view kClient = "starling";
constexpr std::string_view kExamples = "examples";        // programs to begin with, no package
constexpr std::string_view kMarker = ".starling-client";  // in each folder, with the version
constexpr std::string_view kVersionLine = "VERSION = \"";

Status NotTheClient(const std::string& from, std::string_view why) {
  return WithNext(WithCode(absl::NotFoundError(StrCat(Printable(from), " ", why)), "no-client"),
                  "name the folder that holds the package starling with --from");
}

// What the iterators of the standard library say, in our words.
Status FromCode(const std::error_code& error, const fs::path& path) {
  errno = error.value();
  return FromErrno(path.string());
}

// The names of the packages in `from`: the client first, the others need it.
Result<std::vector<std::string>> PackagesIn(const std::string& from) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator it(from, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (fs::exists(it->path() / "__init__.py") || name == kExamples) names.push_back(name);
  }
  if (error) return NotTheClient(from, StrCat("cannot be read: ", ErrnoText(error.value())));
  std::sort(names.begin(), names.end());
  const auto client = std::find(names.begin(), names.end(), kClient);
  if (client == names.end()) return NotTheClient(from, "does not hold the package starling");
  std::rotate(names.begin(), client, client + 1);
  return names;
}

Result<std::string> VersionIn(const std::string& from) {
  const std::string path = StrCat(from, "/", kClient, "/_version.py");
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const std::size_t at = text.find(kVersionLine);
  const std::size_t begin = at + kVersionLine.size();
  const std::size_t end = at == std::string::npos ? at : text.find('"', begin);
  if (end == std::string::npos) return NotTheClient(path, "does not tell a version");
  return Printable(text.substr(begin, end - begin));
}

// Only folders and plain files: a link could lead out of the package.
Status CopyTree(const fs::path& from, const fs::path& to, std::size_t& files) {
  RETURN_IF_ERROR(MakeDirectories(to.string()));
  std::error_code error;
  for (fs::directory_iterator it(from, error), end; !error && it != end; it.increment(error)) {
    const fs::path name = it->path().filename();
    if (name == "__pycache__") continue;
    const fs::file_type type = it->symlink_status(error).type();
    if (type == fs::file_type::directory) {
      RETURN_IF_ERROR(CopyTree(it->path(), to / name, files));
      continue;
    }
    if (type != fs::file_type::regular) {
      return NotTheClient(it->path().string(), "is neither a plain file nor a folder");
    }
    if (++files > kFilesMax) {
      return NotTheClient(from.string(), StrCat("holds more than ", kFilesMax, " files"));
    }
    ASSIGN_OR_RETURN(const std::string content, ReadFile(it->path().string()));
    RETURN_IF_ERROR(WriteFileDurably((to / name).string(), content));
  }
  return error ? FromCode(error, from) : absl::OkStatus();
}

Status Remove(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? FromCode(error, path) : absl::OkStatus();
}

// Where nothing is, an empty folder, or one that an install made.
Status CheckOurs(const fs::path& target) {
  std::error_code error;
  const fs::file_type type = fs::symlink_status(target, error).type();
  if (type == fs::file_type::not_found) return absl::OkStatus();
  if (error) return FromCode(error, target);
  if (type == fs::file_type::directory) {
    const bool marked =
        fs::symlink_status(target / kMarker, error).type() == fs::file_type::regular;
    if (marked || fs::is_empty(target, error)) return absl::OkStatus();
    if (error) return FromCode(error, target);
  }
  return WithNext(WithCode(absl::AlreadyExistsError(StrCat(Printable(target.string()),
                                                           " is there, and no install made it")),
                           "not-ours"),
                  "give another folder, or move this one away");
}

fs::path Fresh(const fs::path& target) {
  return target.parent_path() / StrCat(".", target.filename().string(), ".new");
}
fs::path Old(const fs::path& target) {
  return target.parent_path() / StrCat(".", target.filename().string(), ".old");
}

// Puts the fresh folder in the place of `target`; what was there before is removed.
Status Replace(const fs::path& target) {
  const fs::path fresh = Fresh(target);
  const char* const from = fresh.c_str();
  if (renameat2(AT_FDCWD, from, AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) {
    return Remove(fresh);
  }
  // Nothing is there, or the file system cannot exchange (NFS): then the name is gone for a moment.
  // It is not removed in its place: half a folder could have lost its marker.
  const fs::path old = Old(target);
  if (errno != ENOENT && rename(target.c_str(), old.c_str()) != 0) return FromErrno(old.string());
  if (rename(from, target.c_str()) != 0) return FromErrno(target.string());
  return Remove(old);
}

Result<UniqueFd> Lock(const std::string& directory) {
  UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return FromErrno(directory);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return FromErrno(directory);
  return WithNext(
      WithCode(absl::UnavailableError(StrCat("another process installs into ", directory)), "busy"),
      "try again when it has ended");
}

Result<std::string> Install(const ClientInstallOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<std::string> packages, PackagesIn(options.from));
  ASSIGN_OR_RETURN(const std::string version, VersionIn(options.from));
  RETURN_IF_ERROR(MakeDirectories(options.directory));
  ASSIGN_OR_RETURN(const UniqueFd lock, Lock(options.directory));
  const fs::path directory(options.directory);
  for (const std::string& package : packages) RETURN_IF_ERROR(CheckOurs(directory / package));
  std::string list;
  for (const std::string& package : packages) {
    const fs::path target = directory / package;
    std::size_t files = 0;
    RETURN_IF_ERROR(Remove(Fresh(target)));  // of an install that was killed
    RETURN_IF_ERROR(Remove(Old(target)));
    RETURN_IF_ERROR(CopyTree(fs::path(options.from) / package, Fresh(target), files));
    RETURN_IF_ERROR(WriteFileDurably((Fresh(target) / kMarker).string(), StrCat(version, "\n")));
    RETURN_IF_ERROR(Replace(target));
    StrAppend(&list, list.empty() ? "" : ", ", Printable(package));
  }
  if (fsync(lock.get()) != 0) return FromErrno(options.directory);
  return StrCat("client ", version, " installed: ", list,
                "; PYTHONPATH=", Printable(fs::absolute(directory).lexically_normal().string()));
}

}  // namespace

Result<std::string> InstallClient(const ClientInstallOptions& options) {
  Result<std::string> done = Install(options);
  if (done.ok() || !NextStep(done.status()).empty()) return done;
  return WithNext(done.status(), "name a folder that this user may write, with a few MB of room");
}

}  // namespace starling
