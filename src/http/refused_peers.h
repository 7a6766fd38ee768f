// RefusedPeers: who was refused lately because of its certificate, one line a peer and reason, so
// that an operator reads who cannot get in and why. Bounded: whoever is refused must not be able to
// fill the memory. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace starling {

struct RefusedPeer {
  std::string host;  // its address, without the port
  std::string code;  // stable: expired, unknown-authority, refused-by-peer, …
  std::string why;   // in words; the same text every time
  std::uint64_t count = 0;
  Instant first, last;
};

class RefusedPeers {
 public:
  static constexpr std::size_t kPeersMax = 32;

  // Codes that say nothing about an identity (a port scan, a slow handshake) are not kept. When
  // there are too many, the one that was refused longest ago is forgotten.
  void Add(const std::string& host, const std::string& code, std::string_view why, Instant now);
  // Those that were refused at `from` or later, in order of address and reason.
  [[nodiscard]] std::vector<RefusedPeer> Since(Instant from) const;

 private:
  std::map<std::pair<std::string, std::string>, RefusedPeer> peers_;  // by host, and why
};

}  // namespace starling
