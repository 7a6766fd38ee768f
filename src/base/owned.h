// A C handle never travels bare: Owned<T, &free_fn> for pointers, UniqueFd for file descriptors.
// Move-only; any thread.
#pragma once

#include <memory>
#include <utility>

namespace starling {

template <auto kFree>
struct FreeWith {
  template <typename T>
  void operator()(T* handle) const {
    static_cast<void>(kFree(handle));
  }
};
template <typename T, auto kFree>
using Owned = std::unique_ptr<T, FreeWith<kFree>>;

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept;
  ~UniqueFd();
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

}  // namespace starling
