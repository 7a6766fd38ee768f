// What a folder of a container lies on.
#pragma once

#include <string>
#include <string_view>

namespace starling {

// Whether `path` lies on a Kubernetes emptyDir, which goes with its pod. `mounts` is what
// /proc/self/mountinfo says: the last mount whose point is a whole-component prefix of the absolute
// `path` holds it. Whatever cannot be read says no.
[[nodiscard]] bool IsOnEmptyDir(std::string_view mounts, std::string_view path);
// The same for this process and a path, relative or not, of which the end may be missing yet.
[[nodiscard]] bool IsOnEmptyDir(const std::string& path);

}  // namespace starling
