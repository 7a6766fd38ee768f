// A connection to a SPIRE server as one of its agents: each method is one call of its API. One
// thread; a connection is for one piece of work of some calls, so that the server's habit of
// closing old ones is never met.
//
// Errors say what people can do. Codes: spire-server-unreachable (try again), spire-server-error
// (its own words, try again), agent-refused, join-token-spent, attestation-refused (never try
// again), and VerifyPeer()'s where the server is not the one that was asked for. Cancelled when
// `stop` came first. No error holds the token, whatever the server says.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "identity/join_plan.h"
#include "identity/svid.h"

namespace starling {

struct SpireServer {
  std::string host;  // a name or an address; IPv6 with or without brackets
  std::uint16_t port = 0;
  std::string trust_domain;
  [[nodiscard]] std::string Address() const;  // "host:port"
};

struct SpireConnection {
  SpireServer server;
  // The CAs that the server is believed by: it must be spiffe://<trust domain>/spire/server. Empty
  // only for insecure bootstrap: then it must say that it is, and nothing is proven.
  Bundle trusted;
  bool insecure = false;
  std::shared_ptr<const Svid> agent;  // what we show; null: nothing
  std::vector<std::string> secrets;   // never repeated in an error
  UtcTime now;                        // at which certificates are checked
  Duration call_timeout = std::chrono::seconds(10);
};

// CAs in DER, one after the other. What a tainted one signed is still to be believed, as nodes need
// time to replace it, and to be replaced at once.
struct SpireBundle {
  std::string roots;
  std::string untainted;  // those of `roots` that are not tainted
};

class SpireClient {
 public:
  // Makes no connection yet.
  static Result<std::unique_ptr<SpireClient>> Make(SpireConnection options, std::stop_token stop);
  SpireClient(const SpireClient&) = delete;
  SpireClient& operator=(const SpireClient&) = delete;
  ~SpireClient();

  // `request` is a certificate request in DER. Answer: the chain in DER, the leaf first.
  [[nodiscard]] Result<std::string> Attest(const std::string& token, const std::string& request);
  [[nodiscard]] Result<std::string> RenewAgent(const std::string& request);
  [[nodiscard]] Result<std::vector<JoinEntry>> Entries();
  [[nodiscard]] Result<std::string> NewSvid(const JoinEntry& entry, const std::string& request);
  // Of the server's own trust domain, never without a CA; of another one NotFound when the server
  // has none.
  [[nodiscard]] Result<SpireBundle> OwnBundle();
  [[nodiscard]] Result<SpireBundle> FederatedBundle(const std::string& trust_domain);

 private:
  struct Impl;
  explicit SpireClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace starling
