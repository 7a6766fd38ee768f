// A training program for tests: speaks docs/formats/bridge.md over the socket, in this process.
// Blocking; one thread.
#pragma once

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/owned.h"
#include "crypto/json.h"
#include "sl/bridge_frames.h"

namespace starling {

class TestProgram {
 public:
  explicit TestProgram(const std::string& path) : socket_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    CHECK(path.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, path.data(), path.size());
    connected_ =
        connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  TestProgram(const TestProgram&) = delete;
  TestProgram& operator=(const TestProgram&) = delete;
  ~TestProgram() {
    for (const MutableByteSpan& arena : arenas_) munmap(arena.data(), arena.size());
  }

  [[nodiscard]] bool connected() const { return connected_; }
  bool SendRaw(std::string_view bytes) {
    return send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  bool Send(const Json& frame) { return SendRaw(EncodeFrame(frame)); }
  // The next frame that is not `waiting`; null at the end of the connection.
  Json Receive() {
    for (;;) {
      Json frame = ReceiveAny();
      if (!frame.is_object() || frame.at("type") != "waiting") return frame;
      waited_for_.push_back(frame.at("text"));
    }
  }
  Json Ask(const Json& frame) {
    if (!Send(frame)) return nullptr;
    return Receive();
  }

  struct Opening {
    std::string contract = "t";
    std::uint64_t weight = 1;
    std::uint64_t min_peers = 1;
    std::uint64_t sync_interval = 10;
    std::vector<TensorSpec> tensors;
  };
  // `opened` maps the arenas.
  Json Open(const Opening& opening) {
    Json tensors = Json::array();
    for (const TensorSpec& tensor : opening.tensors) {
      tensors.push_back(
          {{"name", tensor.name}, {"dtype", NameOf(tensor.dtype)}, {"shape", tensor.shape}});
    }
    Json answer = Ask({{"type", "open"},
                       {"bridge", kBridgeVersion},
                       {"client", "test 1"},
                       {"platform", "TEST"},
                       {"contract", opening.contract},
                       {"weight", opening.weight},
                       {"rules",
                        {{"sync_interval", opening.sync_interval},
                         {"min_peers", opening.min_peers},
                         {"merge", "mean"}}},
                       {"tensors", tensors},
                       {"total_epochs", 0},
                       {"pid", getpid()}});
    if (answer.is_object() && answer.at("type") == "opened") Map(answer);
    return answer;
  }
  // Writes `model` (data only, as a program does) and asks.
  Json Sync(const Bytes& model) { return Hand(model, {{"type", "sync"}}); }
  Json Finish(const Bytes& model, const std::string& mode = "snapshot") {
    return Hand(model, {{"type", "finish"}, {"mode", mode}});
  }
  // The same without waiting for the answer: Receive() or AwaitWord() comes next.
  bool Offer(const Bytes& model, const Json& frame = {{"type", "sync"}}) {
    return Send(Fill(model, frame));
  }
  // The next `waiting` frame with this in it; "" when another frame or the end comes first.
  std::string AwaitWord(const std::string& part) {
    for (;;) {
      const Json frame = ReceiveAny();
      if (!frame.is_object() || frame.at("type") != "waiting") return "";
      std::string text = frame.at("text");
      if (text.find(part) != std::string::npos) return text;
    }
  }
  [[nodiscard]] ByteSpan merged() const { return ByteSpan(arenas_.at(1)).first(size_); }
  [[nodiscard]] MutableByteSpan update() const { return arenas_.at(0).first(size_); }
  [[nodiscard]] bool attention() const {
    return arenas_.at(1)[arenas_.at(1).size() - 4096] != std::byte{0};
  }
  [[nodiscard]] const std::vector<std::string>& waited_for() const { return waited_for_; }
  void Close() { socket_ = UniqueFd(); }

 private:
  Json ReceiveAny() {
    std::string four(4, '\0');
    if (!Read(four)) return nullptr;
    std::string text(ReadU32(AsBytes(four)), '\0');
    if (!Read(text)) return nullptr;
    return Json::parse(text);
  }
  bool Read(std::string& out) {
    for (std::size_t have = 0; have < out.size();) {
      iovec part{out.data() + have, out.size() - have};
      alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      const ssize_t count = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
      if (count <= 0) return false;
      if (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr) {
        int fds[2] = {-1, -1};
        std::memcpy(fds, CMSG_DATA(header), sizeof fds);
        for (const int fd : fds) descriptors_.emplace_back(fd);
      }
      have += static_cast<std::size_t>(count);
    }
    return true;
  }
  void Map(const Json& opened) {
    size_ = opened.at("size");
    data_start_ = opened.at("data_start");
    const std::size_t bytes = opened.at("arena_bytes");
    CHECK(descriptors_.size() == 2);
    for (const UniqueFd& fd : descriptors_) {
      void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
      CHECK(memory != MAP_FAILED);
      arenas_.emplace_back(static_cast<std::byte*>(memory), bytes);
    }
  }
  Json Fill(const Bytes& model, Json frame) {
    std::memcpy(update().data() + data_start_, model.data() + data_start_, size_ - data_start_);
    frame["batches"] = 10;
    frame["train_ms"] = 1;
    frame["epoch"] = 0;
    return frame;
  }
  Json Hand(const Bytes& model, const Json& frame) { return Ask(Fill(model, frame)); }

  UniqueFd socket_;
  bool connected_ = false;
  std::vector<UniqueFd> descriptors_;
  std::vector<MutableByteSpan> arenas_;
  std::size_t size_ = 0;
  std::size_t data_start_ = 0;
  std::vector<std::string> waited_for_;
};

}  // namespace starling
