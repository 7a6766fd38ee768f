#include "tensor/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/errno.h"
#include "base/limits.h"
#include "base/text.h"

namespace starling {
namespace {

Status ArenaError(std::string_view what) {
  const int error = errno;
  const std::string text = StrCat(what, ": ", ErrnoText(error));
  return error == ENOSPC || error == ENOMEM || error == EDQUOT || error == EFBIG
             ? WithNext(absl::ResourceExhaustedError(text),
                        "free memory, or give --arena-dir a directory with room")
             : absl::UnavailableError(text);
}

Result<UniqueFd> MakeMemory(std::uint64_t bytes) {
  UniqueFd fd(memfd_create("starling-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid() || ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
    return ArenaError("arena");
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return ArenaError("arena");
  return fd;
}

// A file without a name. Some file systems only have files that lose theirs.
UniqueFd OpenNameless(const std::string& directory) {
  UniqueFd fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd.valid() || (errno != EOPNOTSUPP && errno != EISDIR)) return fd;
  std::string path = directory + "/starling-arena-XXXXXX";
  UniqueFd named(mkostemp(path.data(), O_CLOEXEC));
  if (named.valid()) unlink(path.c_str());
  return named;
}

// Its blocks are taken now: a full disk is an error here and no fault later.
Result<UniqueFd> MakeFile(std::uint64_t bytes, const std::string& directory) {
  UniqueFd fd = OpenNameless(directory);
  if (!fd.valid()) return ArenaError(directory);
  const int error = posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes));
  if (error != 0) {
    errno = error;
    return ArenaError(directory);
  }
  return fd;
}

}  // namespace

Result<std::unique_ptr<Arena>> Arena::Create(std::uint64_t blob_bytes,
                                             const std::string& directory) {
  if (blob_bytes == 0 || blob_bytes > kBlobBytesMax)
    return absl::InvalidArgumentError("arena: size out of bounds");
  std::unique_ptr<Arena> arena(new Arena());
  arena->blob_bytes_ = blob_bytes;
  arena->arena_bytes_ =
      (blob_bytes + kControlBytes - 1) / kControlBytes * kControlBytes + kControlBytes;
  ASSIGN_OR_RETURN(arena->fd_, directory.empty() ? MakeMemory(arena->arena_bytes_)
                                                 : MakeFile(arena->arena_bytes_, directory));
  void* const base =
      mmap(nullptr, arena->arena_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd_.get(), 0);
  if (base == MAP_FAILED) return ArenaError("arena");
  arena->base_ = static_cast<std::byte*>(base);
  return arena;
}

Arena::~Arena() {
  if (base_ != nullptr) munmap(base_, arena_bytes_);
}

void Arena::SetAttention(bool on) {
  auto* const word = reinterpret_cast<std::uint32_t*>(base_ + arena_bytes_ - kControlBytes);
  std::atomic_ref<std::uint32_t>(*word).store(on ? 1 : 0, std::memory_order_release);
}

}  // namespace starling
