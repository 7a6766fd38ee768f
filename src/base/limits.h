// Limits that several folders must agree on (wire limits of docs/protocol.md). What only one part
// needs is in its Options.
#pragma once

#include <cstddef>
#include <cstdint>

namespace starling {

inline constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
inline constexpr std::size_t kEntryBytesMax = std::size_t{64}
                                              << 10;  // one entry's payload (decoded)
inline constexpr std::size_t kAppendBytesMax = std::size_t{96}
                                               << 10;  // one append, all its entries (as text)
inline constexpr std::size_t kNameBytesMax = 128;  // names of nodes and trainings: [A-Za-z0-9._-]
inline constexpr std::uint64_t kJsonIntegerMax = (std::uint64_t{1} << 53) - 1;
inline constexpr std::uint64_t kBlobBytesMax = std::uint64_t{1} << 40;
inline constexpr std::size_t kNodesMax = 1024;  // SLs in one training

}  // namespace starling
