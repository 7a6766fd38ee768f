// The frames between a training program and its SL (docs/formats/bridge.md): u32 length, then one
// JSON object. Parsed once into types; any thread.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "crypto/json.h"
#include "protocol/events.h"
#include "tensor/layout.h"

namespace starling {

inline constexpr std::size_t kFrameBytesMax = std::size_t{16} << 20;
inline constexpr std::uint64_t kBridgeVersion = 1;
inline constexpr std::size_t kLogLinesMax = 20;

struct OpenFrame {
  std::string client;
  std::string platform;
  ContractName contract;
  std::uint64_t weight = 1;
  Rules rules;  // sync_interval, min_peers, merge
  std::vector<TensorSpec> tensors;
  std::uint64_t total_epochs = 0;
};
struct SyncFrame {
  CheckinReport report;
  std::uint64_t epoch = 0;
};
struct FinishFrame {
  CheckinReport report;
  FinishMode mode = FinishMode::kSnapshot;
};
struct ResultFrame {
  std::optional<double> loss, metric;
};
struct LogFrame {
  std::vector<std::string> lines;
};
struct GoodbyeFrame {
  std::string reason;
  std::string exception;
};
using ProgramFrame =
    std::variant<OpenFrame, SyncFrame, FinishFrame, ResultFrame, LogFrame, GoodbyeFrame>;

[[nodiscard]] Result<ProgramFrame> ParseFrame(std::string_view json);

// The bytes of a frame: length and JSON. CHECKs the limit: what we send is ours.
[[nodiscard]] std::string EncodeFrame(const Json& object);
// The length that four bytes announce, refused above the limit and at 0.
[[nodiscard]] Result<std::size_t> FrameLength(ByteSpan four);

// What the SL says.
[[nodiscard]] Json OpenedFrame(const Layout& layout, std::uint64_t arena_bytes,
                               const NodeName& node, const ContractName& contract,
                               std::uint64_t round);
[[nodiscard]] Json ErrorFrame(const Status& status, std::string_view component);
[[nodiscard]] Json WaitingFrame(std::string_view text);

}  // namespace starling
