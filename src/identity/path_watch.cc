#include "identity/path_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <system_error>

#include "base/errno.h"
#include "base/text.h"

namespace starling {
namespace {

namespace fs = std::filesystem;

// What happens to names; and, only where a file of ours lies (others may write a lot in /tmp), to
// bytes.
constexpr std::uint32_t kEntryMask =
    IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::uint32_t kContentMask = kEntryMask | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB;
// The folder itself is gone, or something was lost.
constexpr std::uint32_t kGone =
    IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT | IN_Q_OVERFLOW;
constexpr int kLinksMax = 40;  // as the kernel
constexpr int kEntriesMax = 4096;
constexpr std::size_t kBufferBytes = 16U << 10;

void PutInFront(const fs::path& path, std::deque<std::string>& parts) {
  std::deque<std::string> more;
  for (const fs::path& part : path.relative_path()) more.push_back(part.string());
  parts.insert(parts.begin(), more.begin(), more.end());
}

}  // namespace

PathWatch::PathWatch() : fd_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (!fd_.valid()) {
    problem_ = WithNext(FromErrno("inotify"), "raise fs.inotify.max_user_instances (sysctl)");
  }
}

void PathWatch::Watch(const fs::path& folder, const std::string& name, What what) {
  if (!fd_.valid()) return;
  const std::uint32_t mask = what == What::kEntry ? kEntryMask : kContentMask;
  const int watch = inotify_add_watch(fd_.get(), folder.c_str(), mask | IN_ONLYDIR | IN_MASK_ADD);
  if (watch < 0) {
    // A folder that is not there is its parent's matter. One that may be passed through but not
    // listed cannot be watched.
    if (errno == ENOSPC) {
      problem_ = WithNext(FromErrno(folder.string()), "raise fs.inotify.max_user_watches (sysctl)");
    } else if (errno == EACCES) {
      problem_ = WithNext(FromErrno(folder.string()), "let this process read that folder");
    }
    return;
  }
  Names& names = names_[watch];
  if (what == What::kAllContent) {
    names.all = true;
  } else {
    names.some.insert(name);
  }
}

fs::path PathWatch::Follow(const fs::path& path) {
  fs::path at = path.is_absolute() ? "/" : ".";
  std::deque<std::string> parts;
  PutInFront(path, parts);
  int links = 0;
  while (!parts.empty()) {
    const std::string name = parts.front();
    parts.pop_front();
    if (name.empty() || name == ".") continue;
    // Watched before it is looked at, so that nothing falls in between. `at` has no links in it:
    // ".." means what it says.
    if (name != "..") Watch(at, name, What::kEntry);
    std::error_code error;
    const fs::path next = at / name;
    if (!fs::is_symlink(next, error)) {
      if (parts.empty()) Watch(at, name, What::kContent);
      at = next;
      if (error) break;
      continue;
    }
    const fs::path target = fs::read_symlink(next, error);
    if (error || ++links > kLinksMax) break;
    if (target.is_absolute()) at = "/";
    PutInFront(target, parts);
  }
  return at;
}

void PathWatch::AddFile(const std::string& path) { Follow(path); }

void PathWatch::AddFolder(const std::string& path) {
  const fs::path folder = Follow(path);
  Watch(folder, "", What::kAllContent);
  std::error_code error;
  int count = 0;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_symlink(ignored)) Follow(it->path());
    if (++count > kEntriesMax) break;
  }
}

bool PathWatch::Take() {
  if (!fd_.valid()) return false;
  bool matters = false;
  alignas(inotify_event) std::array<char, kBufferBytes> buffer;
  for (;;) {
    const ssize_t size = read(fd_.get(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return matters;
    for (std::size_t at = 0; at < static_cast<std::size_t>(size);) {
      inotify_event event;
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const std::string name = event.len == 0 ? "" : std::string(buffer.data() + at + sizeof event);
      at += sizeof event + event.len;
      const auto known = names_.find(event.wd);
      const bool named = known != names_.end() && !name.empty() &&
                         (known->second.all || known->second.some.contains(name));
      matters = matters || named || (event.mask & kGone) != 0;
    }
  }
}

}  // namespace starling
