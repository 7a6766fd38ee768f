#include "tensor/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "base/limits.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

TEST(Arena, ItsSizeCannotChangeOnceItExists) {
  const std::unique_ptr<Arena> arena = *Arena::Create(5000);
  EXPECT_EQ(arena->arena_bytes(), 8192U + kControlBytes);
  EXPECT_EQ(fcntl(arena->fd(), F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_NE(ftruncate(arena->fd(), 100), 0);
  EXPECT_NE(ftruncate(arena->fd(), 1 << 20), 0);
  EXPECT_NE(fcntl(arena->fd(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST(Arena, BothSidesSeeTheSameBytesAndTheAttentionWord) {
  const std::unique_ptr<Arena> arena = *Arena::Create(10);
  void* const other =
      mmap(nullptr, arena->arena_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd(), 0);
  ASSERT_NE(other, MAP_FAILED);
  static_cast<std::byte*>(other)[3] = std::byte{42};
  EXPECT_EQ(arena->blob()[3], std::byte{42});
  arena->SetAttention(true);
  std::uint32_t word = 0;
  std::memcpy(&word, static_cast<std::byte*>(other) + arena->arena_bytes() - kControlBytes,
              sizeof word);
  EXPECT_EQ(word, 1U);
  arena->SetAttention(false);
  std::memcpy(&word, static_cast<std::byte*>(other) + arena->arena_bytes() - kControlBytes,
              sizeof word);
  EXPECT_EQ(word, 0U);
  munmap(other, arena->arena_bytes());
}

TEST(Arena, SizesArePaddedToPagesAndStartAsZeros) {
  for (const std::uint64_t bytes : {1U, 4096U, 4097U}) {
    const std::unique_ptr<Arena> arena = *Arena::Create(bytes);
    EXPECT_EQ(arena->arena_bytes(), (bytes > 4096 ? 8192U : 4096U) + kControlBytes);
    EXPECT_EQ(arena->blob().size(), bytes);
    EXPECT_EQ(arena->mutable_blob()[bytes - 1], std::byte{0});
    struct stat info {};
    ASSERT_EQ(fstat(arena->fd(), &info), 0);
    EXPECT_EQ(static_cast<std::uint64_t>(info.st_size), arena->arena_bytes());
  }
}

TEST(Arena, ADirectoryWithoutRoomIsAnErrorThatSaysWhatToDo) {
  EXPECT_FALSE(Arena::Create(kBlobBytesMax + 1).ok());
  // 1 TiB of a file system in memory.
  const Result<std::unique_ptr<Arena>> arena = Arena::Create(kBlobBytesMax, "/dev/shm");
  ASSERT_FALSE(arena.ok());
  EXPECT_TRUE(absl::IsResourceExhausted(arena.status())) << arena.status();
  EXPECT_NE(NextStep(arena.status()), "");
}

TEST(Arena, InADirectoryItIsAFileWithoutAName) {
  const Result<std::unique_ptr<Arena>> arena = Arena::Create(1 << 20, testing::TempDir());
  ASSERT_TRUE(arena.ok()) << arena.status();
  struct stat info {};
  ASSERT_EQ(fstat((*arena)->fd(), &info), 0);
  EXPECT_EQ(info.st_nlink, 0U);
  EXPECT_FALSE(Arena::Create(1 << 20, "/nonexistent").ok());
  EXPECT_FALSE(Arena::Create(0).ok());
}

}  // namespace
}  // namespace starling
