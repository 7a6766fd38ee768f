#include "sl/bridge.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/errno.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr int kWriteMillis = 30'000;  // a program that reads nothing for so long is given up

Result<UniqueFd> ListenOn(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return WithNext(absl::InvalidArgumentError(StrCat(path, ": a socket's path has at most ",
                                                      sizeof address.sun_path - 1, " bytes")),
                    "choose a shorter --state-dir or --socket");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  static_cast<void>(unlink(path.c_str()));
  if (!fd.valid() ||
      bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return FromErrno(path);
  if (chmod(path.c_str(), 0600) != 0 || listen(fd.get(), 8) != 0) return FromErrno(path);
  return fd;
}

// Waits for `fd` to be ready; false when `wake` came first or `milliseconds` (−1: no limit) passed.
bool WaitReady(int fd, short events, int wake, int milliseconds) {
  pollfd fds[] = {{fd, events, 0}, {wake, POLLIN, 0}};
  while (poll(fds, 2, milliseconds) < 0 && errno == EINTR) {
  }
  return fds[1].revents == 0 && fds[0].revents != 0;
}

}  // namespace

struct Bridge::Impl {
  std::string path;
  std::function<void(BridgeEvent)> on_event;
  Log log;
  UniqueFd listener;
  UniqueFd wake{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::mutex mutex;     // guards `program` against its replacement while Send uses it
  UniqueFd program;     // connected program
  std::jthread thread;  // last

  void Loop(const std::stop_token& stop);
  void Serve();
  bool ReadExactly(MutableByteSpan out, int fd);
  bool Write(const std::string& bytes, int first_fd, int second_fd);
  void RefuseOthers();
};

// 1: a frame, 0: the connection ended.
bool Bridge::Impl::ReadExactly(MutableByteSpan out, int fd) {
  while (!out.empty()) {
    pollfd fds[] = {{fd, POLLIN, 0}, {wake.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    if (poll(fds, 3, -1) < 0 && errno != EINTR) return false;
    if (fds[1].revents != 0) return false;
    if (fds[2].revents != 0) RefuseOthers();
    if (fds[0].revents == 0) continue;
    const ssize_t count = read(fd, out.data(), out.size());
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count <= 0) return false;
    out = out.subspan(static_cast<std::size_t>(count));
  }
  return true;
}

void Bridge::Impl::RefuseOthers() {
  const UniqueFd other(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!other.valid()) return;
  const std::string frame = EncodeFrame(ErrorFrame(
      WithNext(WithCode(absl::AlreadyExistsError("this SL has a training program already"),
                        "program-connected"),
               "give each program an SL of its own"),
      "starling sl"));
  static_cast<void>(!send(other.get(), frame.data(), frame.size(), MSG_NOSIGNAL));
  log.Warning("a second program tried to connect and was refused");
}

// Reads frames of one program until it goes.
void Bridge::Impl::Serve() {
  BridgeClosed closed{false, "its socket was closed without a goodbye"};
  const int fd = program.get();
  std::string text;
  for (;;) {
    std::array<std::byte, 4> four{};
    if (!ReadExactly(four, fd)) break;
    const Result<std::size_t> length = FrameLength(four);
    Status bad = length.status();
    if (bad.ok()) {
      text.resize(*length);
      if (!ReadExactly(std::as_writable_bytes(std::span(text)), fd)) break;
      Result<ProgramFrame> frame = ParseFrame(text);
      bad = frame.status();
      if (frame.ok()) {
        if (const auto* goodbye = std::get_if<GoodbyeFrame>(&*frame))
          closed.clean = goodbye->reason == "done";
        on_event(BridgeEvent{*std::move(frame)});
        continue;
      }
    }
    static_cast<void>(Write(EncodeFrame(ErrorFrame(bad, "starling sl")), -1, -1));
    closed.why = StrCat("it sent a frame that is not understood: ", std::string(bad.message()));
    break;
  }
  {
    const std::scoped_lock lock(mutex);
    program = UniqueFd();
  }
  on_event(BridgeEvent{closed});
}

void Bridge::Impl::Loop(const std::stop_token& stop) {
  while (!stop.stop_requested() && WaitReady(listener.get(), POLLIN, wake.get(), -1)) {
    UniqueFd fd(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) continue;
    {
      const std::scoped_lock lock(mutex);
      program = std::move(fd);
    }
    Serve();
  }
}

bool Bridge::Impl::Write(const std::string& bytes, int first_fd, int second_fd) {
  const std::scoped_lock lock(
      mutex);  // One frame at a time; the peer is a local process, and Close wakes the poll below.
  if (!program.valid()) return false;
  std::string_view rest = bytes;
  bool fds_pending = first_fd >= 0;
  while (!rest.empty()) {
    iovec part{const_cast<char*>(rest.data()), rest.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
    if (fds_pending) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      CHECK(header != nullptr);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(2 * sizeof(int));
      const int fds[] = {first_fd, second_fd};
      std::memcpy(CMSG_DATA(header), fds, sizeof fds);
    }
    const ssize_t count = sendmsg(program.get(), &message, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      if (WaitReady(program.get(), POLLOUT, wake.get(), kWriteMillis)) continue;
      static_cast<void>(shutdown(program.get(), SHUT_RDWR));  // Half a frame: the line is broken.
      return false;
    }
    if (count < 0) return false;
    fds_pending = false;
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

Bridge::Bridge(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Bridge::~Bridge() {
  impl_->thread.request_stop();
  const std::uint64_t one = 1;
  static_cast<void>(!write(impl_->wake.get(), &one, sizeof one));
  impl_->thread.join();
  static_cast<void>(unlink(impl_->path.c_str()));
}

Result<std::unique_ptr<Bridge>> Bridge::Listen(const std::string& socket_path,
                                               std::function<void(BridgeEvent)> on_event, Log log) {
  auto impl = std::make_unique<Impl>();
  impl->path = socket_path;
  impl->on_event = std::move(on_event);
  impl->log = std::move(log);
  ASSIGN_OR_RETURN(impl->listener, ListenOn(socket_path));
  Impl* const raw = impl.get();
  impl->thread = std::jthread([raw](const std::stop_token& stop) { raw->Loop(stop); });
  return std::unique_ptr<Bridge>(new Bridge(std::move(impl)));
}

int Bridge::peer_pid() const {
  const std::scoped_lock lock(impl_->mutex);
  ucred peer{};
  socklen_t size = sizeof peer;
  if (!impl_->program.valid() ||
      getsockopt(impl_->program.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    return 0;
  return peer.pid;
}

bool Bridge::Send(const Json& frame) { return impl_->Write(EncodeFrame(frame), -1, -1); }
bool Bridge::SendWithFds(const Json& frame, int first_fd, int second_fd) {
  return impl_->Write(EncodeFrame(frame), first_fd, second_fd);
}

}  // namespace starling
