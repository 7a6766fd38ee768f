// Bridge: the Unix socket on which one training program speaks with its SL. A second program, a
// malformed or oversized frame is refused with an `error` frame. Listening begins with Listen();
// messages are handed out on the bridge's own thread; Send* may be called from any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/owned.h"
#include "sl/bridge_frames.h"

namespace starling {

// The program's connection ended; `clean`: after a goodbye.
struct BridgeClosed {
  bool clean = false;
  std::string why;
};
using BridgeEvent = std::variant<ProgramFrame, BridgeClosed>;

class Bridge {
 public:
  // `on_event` runs on the bridge's thread and may take its time: the program waits. The socket
  // file has mode 0600; an old one is replaced.
  static Result<std::unique_ptr<Bridge>> Listen(const std::string& socket_path,
                                                std::function<void(BridgeEvent)> on_event, Log log);
  Bridge(const Bridge&) = delete;
  Bridge& operator=(const Bridge&) = delete;
  ~Bridge();

  // False when no program is connected or the write fails: the reader then reports BridgeClosed.
  bool Send(const Json& frame);
  // The process at the other end; 0 when none is connected, or when it is in another namespace.
  [[nodiscard]] int peer_pid() const;
  bool SendWithFds(const Json& frame, int first_fd, int second_fd);

 private:
  struct Impl;
  explicit Bridge(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace starling
