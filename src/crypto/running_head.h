// The running head of a ledger: head[n] = SHA-256(head[n−1] ‖ u32(length) ‖ entry), big-endian;
// head[−1] is 32 zero bytes. Any thread.
#pragma once

#include <string_view>

#include "crypto/sha256.h"

namespace starling {

[[nodiscard]] Digest NextHead(const Digest& previous, std::string_view entry);

}  // namespace starling
