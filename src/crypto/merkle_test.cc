// Hashes, trees and the running head.
#include "crypto/merkle.h"

#include <thread>
#include <vector>

#include "base/limits.h"
#include "crypto/running_head.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

TEST(Sha256, MatchesFips180) {
  EXPECT_EQ(HexOf(HashOf(AsBytes("abc"))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(HexOf(HashOf({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(PartsHash, PartsAreLengthPrefixed) {
  EXPECT_NE(PartsHash().Add("ab").Add("c").Finish(), PartsHash().Add("a").Add("bc").Finish());
  Bytes by_hand;
  AppendU64(1, by_hand);
  by_hand.push_back(std::byte{'a'});
  AppendU64(8, by_hand);
  AppendU64(5, by_hand);
  EXPECT_EQ(PartsHash().Add("a").Add(std::uint64_t{5}).Finish(), HashOf(by_hand));
}

TEST(RunningHead, IsTheHashOfPreviousLengthAndEntry) {
  Bytes by_hand(32);
  AppendU32(3, by_hand);
  for (const char c : {'a', 'b', 'c'}) by_hand.push_back(static_cast<std::byte>(c));
  EXPECT_EQ(NextHead(Digest{}, "abc"), HashOf(by_hand));
}

// RFC 6962 written down naively: the oracle.
Digest OracleRoot(const std::vector<Bytes>& chunks) {
  if (chunks.empty()) return HashOf({});
  Bytes data;
  if (chunks.size() == 1) {
    data.push_back(std::byte{0});
    data.insert(data.end(), chunks[0].begin(), chunks[0].end());
    return HashOf(data);
  }
  std::size_t k = 1;
  while (k * 2 < chunks.size()) k *= 2;
  const auto middle = chunks.begin() + static_cast<std::ptrdiff_t>(k);
  const Digest left = OracleRoot({chunks.begin(), middle});
  const Digest right = OracleRoot({middle, chunks.end()});
  data.push_back(std::byte{1});
  data.insert(data.end(), left.bytes.begin(), left.bytes.end());
  data.insert(data.end(), right.bytes.begin(), right.bytes.end());
  return HashOf(data);
}

TEST(Merkle, RootsMatchTheOracleForEveryNumberOfChunks) {
  for (std::size_t count = 0; count <= 9; ++count) {
    std::vector<Bytes> chunks;
    Bytes blob;
    for (std::size_t i = 0; i < count; ++i) {
      chunks.emplace_back(i + 1 == count ? 7 : kChunkBytes, static_cast<std::byte>(i + 1));
      blob.insert(blob.end(), chunks.back().begin(), chunks.back().end());
    }
    EXPECT_EQ(RootOf(blob), OracleRoot(chunks)) << count;
    EXPECT_EQ(ChunkCount(blob.size()), count);
  }
}

TEST(Merkle, ALeafListIsRefusedUnlessItGivesTheRoot) {
  const Bytes blob(kChunkBytes * 2 + 5, std::byte{3});
  const LeafList leaves = LeavesOf(blob);
  Bytes bytes = EncodeLeaves(leaves);
  EXPECT_EQ(*DecodeLeaves(bytes, blob.size(), RootOf(blob)), leaves);
  EXPECT_FALSE(DecodeLeaves(bytes, blob.size() + kChunkBytes, RootOf(blob)).ok());
  bytes[40] ^= std::byte{1};
  EXPECT_EQ(StableCode(DecodeLeaves(bytes, blob.size(), RootOf(blob)).status()), "wrong-leaves");
}

TEST(Sha256, IsReusedAfterEachResult) {
  Sha256 hash;
  hash.Update(AsBytes("a"));
  hash.Update(AsBytes("bc"));
  EXPECT_EQ(hash.Finish(), HashOf(AsBytes("abc")));
  EXPECT_EQ(hash.Finish(), HashOf({}));
}

TEST(Digests, HaveOneSpelling) {
  const Digest digest = HashOf(AsBytes("abc"));
  EXPECT_EQ(ParseHexDigest(HexOf(digest)).value(), digest);
  EXPECT_EQ(ParseRoot(RootText(digest)).value(), digest);
  EXPECT_EQ(RootText(digest).substr(0, 15), "sha256:ba7816bf");
  EXPECT_EQ(ShortText(digest), "ba7816bf");
  const std::string text = RootText(digest);
  for (const std::string& bad : {text.substr(1), text + "0", text.substr(0, 70), HexOf(digest),
                                 "SHA256:" + HexOf(digest), "sha256:B" + HexOf(digest).substr(1)})
    EXPECT_FALSE(ParseRoot(bad).ok()) << bad;
}

// The leaves and roots that implementations of certificate transparency share.
TEST(Merkle, RootsAreThoseOfCertificateTransparency) {
  const std::string_view inputs[] = {"",
                                     "00",
                                     "10",
                                     "2021",
                                     "3031",
                                     "40414243",
                                     "5051525354555657",
                                     "606162636465666768696a6b6c6d6e6f"};
  const std::string_view roots[] = {
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
      "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
      "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
      "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
      "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
      "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  LeafList leaves;
  for (std::size_t count = 0; count <= 8; ++count) {
    EXPECT_EQ(HexOf(RootOfLeaves(leaves)), roots[count]) << count;
    if (count < 8) leaves.push_back(LeafOf(HexDecode(inputs[count]).value()));
  }
}

TEST(Merkle, RootsOfManyLeavesMatchTheOracle) {
  std::vector<Bytes> chunks;
  LeafList leaves;
  for (std::size_t count = 1; count <= 70; ++count) {
    chunks.emplace_back(3, static_cast<std::byte>(count));
    leaves.push_back(LeafOf(chunks.back()));
    EXPECT_EQ(RootOfLeaves(leaves), OracleRoot(chunks)) << count;
  }
}

TEST(Merkle, ALeafIsNoNode) {
  const LeafList leaves = {LeafOf(AsBytes("a")), LeafOf(AsBytes("b"))};
  EXPECT_NE(LeafOf(EncodeLeaves(leaves)), RootOfLeaves(leaves));
}

TEST(Merkle, ChunksCoverTheBlobOnce) {
  EXPECT_EQ(ChunkCount(0), 0U);
  EXPECT_EQ(ChunkCount(kChunkBytes), 1U);
  EXPECT_EQ(ChunkCount(kChunkBytes + 1), 2U);
  EXPECT_EQ(ChunkRange(kChunkBytes + 1, 0), (ByteRange{0, kChunkBytes}));
  EXPECT_EQ(ChunkRange(kChunkBytes + 1, 1), (ByteRange{kChunkBytes, kChunkBytes + 1}));
  EXPECT_EQ(ChunkCount(UINT64_MAX), (std::uint64_t{1} << 44U));
}

TEST(MerkleDeathTest, AChunkBeyondTheEndIsOurBug) {
  EXPECT_DEATH(static_cast<void>(ChunkRange(kChunkBytes, 1)), "CHECK failed");
}

TEST(Merkle, ThreadsDoNotDisturbEachOther) {
  const Bytes chunk(100'000, std::byte{7});
  const Digest expected = LeafOf(chunk);
  std::vector<Digest> got(4);
  {
    std::vector<std::jthread> threads;
    for (Digest& digest : got) {
      threads.emplace_back([&] {
        for (int i = 0; i < 50; ++i) digest = LeafOf(chunk);
      });
    }
  }
  for (const Digest& digest : got) EXPECT_EQ(digest, expected);
}

TEST(RunningHead, ALengthSeparatesEntries) {
  EXPECT_NE(NextHead(NextHead(Digest{}, "ab"), "c"), NextHead(NextHead(Digest{}, "a"), "bc"));
}

}  // namespace
}  // namespace starling
