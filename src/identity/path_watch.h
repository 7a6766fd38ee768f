// PathWatch: tells that some paths may lead to other bytes than before, by inotify(7). Watched are
// the folders on the way, the links' targets included, never the files: a file that is renamed
// over, a link that is swapped (Kubernetes' `..data`) and a folder that is removed and comes back
// are all seen. It sees nothing that another machine does (NFS): look yourself now and then, too.
// One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "base/owned.h"
#include "base/result.h"

namespace starling {

class PathWatch {
 public:
  PathWatch();  // nothing is watched yet
  PathWatch(PathWatch&&) noexcept = default;
  PathWatch& operator=(PathWatch&&) noexcept = default;

  // Whatever happens to the path from now on is told. As links that change lead elsewhere, make a
  // new PathWatch after each change, before the files are read again.
  void AddFile(const std::string& path);
  // The same for a folder and each file in it.
  void AddFolder(const std::string& path);
  // Readable when there is something to Take(); -1 when the system gives no inotify.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Takes all that was told. Whether a watched path is among it.
  [[nodiscard]] bool Take();
  // Why some of it is not seen, with a next step: limits of the system, most often.
  [[nodiscard]] const Status& problem() const { return problem_; }

 private:
  struct Names {
    bool all = false;
    std::set<std::string> some;
  };
  // Follows `path` and returns where it ends: at its target, or at what is missing.
  std::filesystem::path Follow(const std::filesystem::path& path);
  enum class What : std::uint8_t { kEntry, kContent, kAllContent };  // of a name; of all names
  void Watch(const std::filesystem::path& folder, const std::string& name, What what);

  UniqueFd fd_;
  std::map<int, Names> names_;  // by watch descriptor
  Status problem_;
};

}  // namespace starling
