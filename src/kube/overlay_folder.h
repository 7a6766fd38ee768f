// Writes an overlay into a folder. Only into one that is not there, that is empty, or that an
// earlier import made and marked (.starling-import lists its files, which are replaced); into
// another only by force. Any thread; not two at once into one folder.
#pragma once

#include <map>
#include <string>

#include "base/result.h"

namespace starling::kube {

// AlreadyExists for a folder that is somebody else's.
[[nodiscard]] Status WriteOverlay(const std::string& folder,
                                  const std::map<std::string, std::string>& files, bool force);

}  // namespace starling::kube
