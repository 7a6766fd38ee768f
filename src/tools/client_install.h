// `starling client install`: copies the Python packages of the client from an image into a folder
// that a stock framework image sees, usually an emptyDir, and programs to begin with beside them. A
// package appears whole or not at all under its name, and replaces an older one in one step; doing
// it again is harmless. Each folder is marked (.starling-client holds the version), and only a
// marked or an empty one is ever replaced. One thread, and one process at a time per folder: a
// second one is refused.
#pragma once

#include <string>

#include "base/result.h"

namespace starling {

struct ClientInstallOptions {
  std::string directory;                            // made if missing
  std::string from = "/usr/share/starling/python";  // holds the packages, one folder each
};

// One line that names the packages, their version and the PYTHONPATH to set. NotFound when `from`
// holds no client; AlreadyExists ("not-ours") where a package's name is somebody else's, and then
// nothing was installed; Unavailable ("busy") while another process installs there; else what the
// file system said.
[[nodiscard]] Result<std::string> InstallClient(const ClientInstallOptions& options);

}  // namespace starling
