#include "base/volume.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/fs.h"

namespace starling {
namespace {

constexpr std::size_t kMountsBytesMax = std::size_t{1} << 20;
constexpr std::size_t kRootField = 3;
constexpr std::size_t kPointField = 4;
// The folder of the node that the kubelet mounts it from: …/pods/<uid>/volumes/<this>/<name>. One
// in memory is a tmpfs of its own, whose root is "/".
constexpr std::string_view kEmptyDir = "/kubernetes.io~empty-dir/";

// Takes what comes before `separator`, and that, off the front of `text`.
std::string_view Cut(std::string_view& text, char separator) {
  const std::size_t end = std::min(text.find(separator), text.size());
  const std::string_view front = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return front;
}

bool Holds(std::string_view point, std::string_view path) {
  if (point == "/") return true;
  return path.starts_with(point) && (path.size() == point.size() || path[point.size()] == '/');
}

}  // namespace

bool IsOnEmptyDir(std::string_view mounts, std::string_view path) {
  std::string_view longest;
  bool is_empty_dir = false;
  while (!mounts.empty()) {
    std::string_view line = Cut(mounts, '\n');
    std::array<std::string_view, kPointField + 1> fields;
    for (std::string_view& field : fields) field = Cut(line, ' ');
    const std::string_view point = fields[kPointField];
    if (point.empty()) continue;
    // The same point twice: the later mount covers the earlier one.
    if (!Holds(point, path) || point.size() < longest.size()) continue;
    longest = point;
    is_empty_dir = fields[kRootField].find(kEmptyDir) != std::string_view::npos;
  }
  return is_empty_dir;
}

bool IsOnEmptyDir(const std::string& path) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(path, error);
  if (error) return false;
  const Result<std::string> mounts = ReadFile("/proc/self/mountinfo", kMountsBytesMax);
  return mounts.ok() && IsOnEmptyDir(*mounts, whole.native());
}

}  // namespace starling
