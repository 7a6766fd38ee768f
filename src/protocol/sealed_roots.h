// SealedRoots: the root of every sealed round of a training. Rounds are sealed one after the other,
// from 0 on. Each state that is published is a copy of the training, so a copy shares all but the
// newest roots with what it was made of: it costs one pointer for 64 rounds.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "crypto/sha256.h"
#include "protocol/ids.h"

namespace starling {

class SealedRoots {
 public:
  [[nodiscard]] std::uint64_t size() const { return full_.size() * kBlock + newest_.size(); }
  // nullptr: not sealed so far.
  [[nodiscard]] const Digest* Find(RoundId round) const {
    const std::uint64_t at = round.value();
    if (at >= size()) return nullptr;
    const std::size_t block = at / kBlock;
    return block < full_.size() ? &(*full_[block])[at % kBlock] : &newest_[at % kBlock];
  }
  [[nodiscard]] const Digest& at(RoundId round) const {
    const Digest* const root = Find(round);
    CHECK(root != nullptr);
    return *root;
  }
  // Of the next round, which is `round`.
  void Append(RoundId round, const Digest& root) {
    CHECK(round.value() == size());
    newest_.push_back(root);
    if (newest_.size() < kBlock) return;
    auto block = std::make_shared<Block>();
    std::copy(newest_.begin(), newest_.end(), block->begin());
    full_.push_back(std::move(block));
    newest_.clear();
  }

 private:
  static constexpr std::size_t kBlock = 64;
  using Block = std::array<Digest, kBlock>;
  std::vector<std::shared_ptr<const Block>> full_;
  std::vector<Digest> newest_;  // fewer than kBlock
};

}  // namespace starling
