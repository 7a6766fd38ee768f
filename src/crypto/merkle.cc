#include "crypto/merkle.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::byte kLeafMark{0};
constexpr std::byte kNodeMark{1};

Digest HashNode(const Digest& left, const Digest& right) {
  thread_local Sha256 hash;
  hash.Update(ByteSpan(&kNodeMark, 1));
  hash.Update(left.span());
  hash.Update(right.span());
  return hash.Finish();
}

}  // namespace

Digest LeafOf(ByteSpan chunk) {
  thread_local Sha256 hash;
  hash.Update(ByteSpan(&kLeafMark, 1));
  hash.Update(chunk);
  return hash.Finish();
}

Digest RootOfLeaves(std::span<const Digest> leaves) {
  if (leaves.empty()) return HashOf({});
  if (leaves.size() == 1) return leaves[0];
  const std::size_t left =
      std::bit_floor(leaves.size() - 1);  // The largest power of two smaller than the count.
  return HashNode(RootOfLeaves(leaves.first(left)), RootOfLeaves(leaves.subspan(left)));
}

LeafList LeavesOf(ByteSpan blob) {
  LeafList leaves;
  leaves.reserve(ChunkCount(blob.size()));
  for (std::uint64_t i = 0; i < ChunkCount(blob.size()); ++i) {
    const ByteRange range = ChunkRange(blob.size(), i);
    leaves.push_back(LeafOf(blob.subspan(range.begin, range.size())));
  }
  return leaves;
}

Digest RootOf(ByteSpan blob) { return RootOfLeaves(LeavesOf(blob)); }

std::uint64_t ChunkCount(std::uint64_t size) {
  return size / kChunkBytes + (size % kChunkBytes != 0 ? 1 : 0);
}

ByteRange ChunkRange(std::uint64_t size, std::uint64_t index) {
  CHECK(index < ChunkCount(size));
  return {index * kChunkBytes, std::min(size, (index + 1) * kChunkBytes)};
}

Bytes EncodeLeaves(std::span<const Digest> leaves) {
  Bytes bytes;
  bytes.reserve(leaves.size() * 32);
  for (const Digest& leaf : leaves) bytes.insert(bytes.end(), leaf.bytes.begin(), leaf.bytes.end());
  return bytes;
}

Result<LeafList> DecodeLeaves(ByteSpan bytes, std::uint64_t size, const Digest& root) {
  if (bytes.size() != ChunkCount(size) * 32) {
    return absl::InvalidArgumentError(
        StrCat("leaf list: ", bytes.size(), " bytes for a blob of ", size));
  }
  LeafList leaves(bytes.size() / 32);
  for (std::size_t i = 0; i < leaves.size(); ++i)
    std::memcpy(leaves[i].bytes.data(), bytes.data() + i * 32, 32);
  if (RootOfLeaves(leaves) != root)
    return WithCode(
        absl::DataLossError(StrCat("leaf list does not give the root ", ShortText(root))),
        "wrong-leaves");
  return leaves;
}

}  // namespace starling
