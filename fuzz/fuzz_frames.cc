// Frames of the bridge: a length and JSON, as a training program might send them.
#include <cstdint>

#include "sl/bridge_frames.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (size >= 4) static_cast<void>(starling::FrameLength(starling::AsBytes(text.substr(0, 4))));
  static_cast<void>(starling::ParseFrame(text));
  return 0;
}
