// Writes an overlay into a folder. Only into one that is not there, that is empty, or that an
// earlier import made and marked: .starling-import lists its files with their SHA-256, and those
// are replaced as long as nobody edited them. Into another folder, and over other files, only by
// force. Files may hold Secrets: only their owner reads them. Any thread; not two at once into one
// folder.
#pragma once

#include <map>
#include <string>

#include "base/result.h"

namespace starling::kube {

// AlreadyExists ("not-ours") for a folder or a file that is somebody else's or was edited; then
// nothing was written.
[[nodiscard]] Status WriteOverlay(const std::string& folder,
                                  const std::map<std::string, std::string>& files, bool force);

}  // namespace starling::kube
