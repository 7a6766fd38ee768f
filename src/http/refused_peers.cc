#include "http/refused_peers.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"

namespace starling {
namespace {

constexpr std::size_t kWhyMax = 300;
constexpr std::array<std::string_view, 8> kAboutIdentity = {
    "expired",        "not-yet-valid", "unknown-authority", "unknown-trust-domain",
    "no-certificate", "bad-svid",      "wrong-path",        "refused-by-peer"};
// What VerifyPeer says of the moment makes each refusal another one.
constexpr std::string_view kMoment = "; now it is ";

}  // namespace

void RefusedPeers::Add(const std::string& host, const std::string& code, std::string_view why,
                       Instant now) {
  if (std::ranges::find(kAboutIdentity, code) == kAboutIdentity.end()) return;
  const std::string text = Printable(why.substr(0, why.find(kMoment)), kWhyMax);
  const auto key = std::pair(host, text);
  if (!peers_.contains(key) && peers_.size() >= kPeersMax) {
    peers_.erase(
        std::ranges::min_element(peers_, {}, [](const auto& item) { return item.second.last; }));
  }
  RefusedPeer& peer = peers_[key];
  if (peer.count++ == 0) {
    peer.host = host;
    peer.code = code;
    peer.why = text;
    peer.first = now;
  }
  peer.last = now;
}

std::vector<RefusedPeer> RefusedPeers::Since(Instant from) const {
  std::vector<RefusedPeer> out;
  for (const auto& [key, peer] : peers_) {
    if (peer.last >= from) out.push_back(peer);
  }
  return out;
}

}  // namespace starling
