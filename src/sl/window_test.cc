#include "sl/window.h"

#include <thread>

#include "gtest/gtest.h"

namespace starling {
namespace {

TEST(ChunkWindow, GivesSlotsInOrderWhateverTheOrderOfTheProducers) {
  constexpr std::uint64_t kSlots = 200;
  ChunkWindow window(4);
  const auto produce = [&](std::uint64_t first) {
    for (std::uint64_t slot = first; slot < kSlots; slot += 2) {
      const Result<MutableByteSpan> buffer = window.Acquire(slot, {});
      ASSERT_TRUE(buffer.ok());
      (*buffer)[0] = static_cast<std::byte>(slot);
      window.Fill(slot, slot + 1);
    }
  };
  std::jthread odd([&] { produce(1); });
  std::jthread even([&] { produce(0); });
  for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
    const Result<ByteSpan> bytes = window.Take({});
    ASSERT_TRUE(bytes.ok());
    EXPECT_EQ(bytes->size(), slot + 1);
    EXPECT_EQ((*bytes)[0], static_cast<std::byte>(slot));
    window.Release();
  }
}

TEST(ChunkWindow, AnErrorOfAProducerReachesTheConsumerAndTheOthers) {
  ChunkWindow window(1);
  ASSERT_TRUE(window.Acquire(0, {}).ok());
  std::jthread waiting([&] { EXPECT_FALSE(window.Acquire(1, {}).ok()); });
  window.Close(absl::DataLossError("chunk 3 does not match"));
  EXPECT_TRUE(absl::IsDataLoss(window.Take({}).status()));
}

TEST(ChunkWindow, AStopWakesTheConsumer) {
  ChunkWindow window(2);
  std::stop_source stop;
  std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_TRUE(absl::IsCancelled(window.Take(stop.get_token()).status()));
}

}  // namespace
}  // namespace starling
