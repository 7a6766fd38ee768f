// RFC 6962 Merkle trees over chunks of kChunkBytes: leaf = SHA-256(0 ‖ chunk), node = SHA-256(1 ‖
// left ‖ right). The root is the only name a blob has. Any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "crypto/sha256.h"

namespace starling {

using LeafList = std::vector<Digest>;  // 32 bytes a chunk, in order

[[nodiscard]] Digest LeafOf(ByteSpan chunk);
[[nodiscard]] Digest RootOfLeaves(std::span<const Digest> leaves);  // no leaves: SHA-256("")
[[nodiscard]] LeafList LeavesOf(ByteSpan blob);                     // chunks of kChunkBytes
[[nodiscard]] Digest RootOf(ByteSpan blob);

[[nodiscard]] std::uint64_t ChunkCount(std::uint64_t size);
// Bytes [begin, end) of chunk `index` in a blob of `size`; CHECKs the index.
[[nodiscard]] ByteRange ChunkRange(std::uint64_t size, std::uint64_t index);

[[nodiscard]] Bytes EncodeLeaves(std::span<const Digest> leaves);
// Refuses any length but 32 × ChunkCount(size), and leaves that do not give `root`.
[[nodiscard]] Result<LeafList> DecodeLeaves(ByteSpan bytes, std::uint64_t size, const Digest& root);

}  // namespace starling
