#include "base/fs.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/errno.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::string_view kTemporary = ".tmp";
constexpr int kTemporariesMax = 10'000;  // tried until one is free

Status WriteAll(int fd, ByteSpan bytes, std::string_view path) {
  while (!bytes.empty()) {
    const ssize_t count = write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FromErrno(path);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return absl::OkStatus();
}

Status SyncFolderOf(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const UniqueFd fd(
      open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || fsync(fd.get()) != 0) return FromErrno(folder);
  return absl::OkStatus();
}

// Unique within the process; the process id makes it unique among processes, but for one that was
// killed: in a container every start has the same id.
std::string TemporaryName(const std::string& path) {
  static std::atomic<unsigned> counter{0};
  return StrCat(path, kTemporary, getpid(), ".", counter.fetch_add(1));
}

}  // namespace

UniqueFd& UniqueFd::operator=(UniqueFd&& other) noexcept {
  if (this != &other) {
    if (valid()) close(fd_);
    fd_ = other.release();
  }
  return *this;
}

UniqueFd::~UniqueFd() {
  if (valid()) close(fd_);
}

Result<std::string> ReadFile(const std::string& path, std::size_t bytes_max) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FromErrno(path);
  std::string content;
  char block[16384];
  for (;;) {
    const ssize_t count = read(fd.get(), block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FromErrno(path);
    if (count == 0) return content;
    content.append(block, static_cast<std::size_t>(count));
    if (content.size() > bytes_max)
      return absl::ResourceExhaustedError(StrCat(path, ": larger than ", bytes_max, " bytes"));
  }
}

Status WriteFileDurably(const std::string& path, std::string_view content, unsigned mode) {
  ASSIGN_OR_RETURN(DurableFile file, DurableFile::Create(path, mode));
  RETURN_IF_ERROR(file.Append(AsBytes(content)));
  return file.Commit();
}

Status MakeDirectories(const std::string& path, unsigned mode) {
  std::error_code error;
  const bool fresh = std::filesystem::create_directories(path, error);
  if (error) return absl::UnavailableError(StrCat(path, ": ", error.message()));
  if (fresh && chmod(path.c_str(), mode) != 0) return FromErrno(path);
  return absl::OkStatus();
}

Result<DurableFile> DurableFile::Create(const std::string& path, unsigned mode) {
  DurableFile file;
  file.path_ = path;
  for (int tried = 1;; ++tried) {
    file.temporary_ = TemporaryName(path);
    file.fd_ =
        UniqueFd(open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (file.fd_.valid()) return file;
    if (errno != EEXIST || tried == kTemporariesMax) return FromErrno(path);
  }
}

DurableFile::~DurableFile() {
  if (fd_.valid()) unlink(temporary_.c_str());
}

Status DurableFile::Append(ByteSpan bytes) { return WriteAll(fd_.get(), bytes, path_); }

Status DurableFile::Sync() { return fsync(fd_.get()) == 0 ? absl::OkStatus() : FromErrno(path_); }

Status DurableFile::Commit(bool sync) {
  if (sync && fsync(fd_.get()) != 0) return FromErrno(path_);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return FromErrno(path_);
  fd_ = UniqueFd();
  return sync ? SyncFolderOf(path_) : absl::OkStatus();
}

Status RemoveLeftovers(const std::string& path) {
  const std::filesystem::path whole(path);
  const std::string start = StrCat(whole.filename().string(), kTemporary);
  const std::filesystem::path folder = whole.has_parent_path() ? whole.parent_path() : ".";
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = at->path().filename().string();
    const bool ours = name.size() > start.size() && name.starts_with(start) &&
                      name.find_first_not_of("0123456789.", start.size()) == std::string::npos;
    if (ours && unlink(at->path().c_str()) != 0 && errno != ENOENT) {
      return FromErrno(at->path().string());
    }
  }
  if (!error || error == std::errc::no_such_file_or_directory) return absl::OkStatus();
  return absl::UnavailableError(StrCat(folder.string(), ": ", error.message()));
}

Result<Slice> MapFile(const std::string& path) {
  // O_NONBLOCK: a pipe is refused below, not waited for.
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd.valid() || fstat(fd.get(), &info) != 0) return FromErrno(path);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(StrCat(path, ": not a file"));
  const auto size = static_cast<std::size_t>(info.st_size);
  if (size == 0) return Slice{};
  void* const base = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (base == MAP_FAILED) return FromErrno(path);
  std::shared_ptr<const void> keep(base,
                                   [size](const void* p) { munmap(const_cast<void*>(p), size); });
  return Slice{{static_cast<const std::byte*>(base), size}, std::move(keep)};
}

Status ReadAt(int fd, std::uint64_t offset, MutableByteSpan out) {
  while (!out.empty()) {
    const ssize_t count = pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FromErrno("read");
    if (count == 0) return absl::OutOfRangeError("read: the file ends before the wanted bytes");
    out = out.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return absl::OkStatus();
}

}  // namespace starling
