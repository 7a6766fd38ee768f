// A SPIRE server as far as a node meets it that is its own agent: gRPC over TLS on a loopback port,
// tokens that are good once, agents of which one certificate is active, CAs that change. And, on a
// Unix socket, as its operator meets it. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/mailbox.h"
#include "grpcpp/server.h"
#include "identity/spiffe/spire/types.pb.h"
#include "identity/svid.h"

namespace starling::testing {

struct FakeCa {
  explicit FakeCa(const std::string& trust_domain);
  KeyPtr key;
  std::shared_ptr<X509> certificate;
};

// What the server knows and has done.
struct FakeSpireWorld {
  std::set<std::string> tokens;
  struct Agent {
    std::string active, renewed;  // leaves in DER; the renewed one is active from its first use
  };
  std::map<std::string, Agent> agents;  // by SPIFFE ID
  std::vector<spire::api::types::Entry> entries;
  std::map<std::string, std::shared_ptr<FakeCa>> federated;  // by trust domain; null: garbage
  std::set<std::string> federated_to_break;                  // reading them is an Internal error
  std::vector<std::shared_ptr<FakeCa>> cas;                  // the bundle
  std::shared_ptr<FakeCa> signer;                            // one of them
  std::shared_ptr<FakeCa> tainted;                           // one of them, or none
  std::chrono::seconds agent_life{3600}, svid_life{3600};
  int attestations_to_limit = 0;  // so many are refused with ResourceExhausted
  int bundles_to_lose = 0;        // so many times GetBundle is Unavailable
  std::optional<spire::api::types::PermissionDeniedDetails::Reason> refuses_agents;
  int attestations = 0, renewals = 0, svids = 0, looks = 0;  // calls that came
  // What the operator has made; the aliases of tokens are among it. Agents are not given these.
  std::vector<spire::api::types::Entry> registered;
  std::vector<std::string> made_tokens;  // in order
  std::vector<std::string> changes;      // of entries: "create", "update", "delete"
  std::string refused_path;              // entries with this ID are refused
  int token_answers_to_lose = 0;         // so many tokens are made, and nobody told
  bool refuses_deletes = false;
  std::chrono::seconds token_clock_shift{0};  // of the clock by which tokens end

  void AddEntry(const std::string& id, const std::string& path, const std::string& hint = "");
};

class FakeSpire {
 public:
  // Its one CA is `trust_domain`'s; it calls itself spiffe://<trust domain><path>. Started.
  explicit FakeSpire(const std::string& trust_domain, const std::string& path = "/spire/server");
  FakeSpire(const FakeSpire&) = delete;
  FakeSpire& operator=(const FakeSpire&) = delete;
  ~FakeSpire();

  // Stop() ends connections; Start() comes back at the same port with a certificate of the signer.
  void Stop();
  void Start();
  // From now on also at this socket, without TLS, where everybody may do what an operator may.
  void ServeOperator(const std::string& socket);
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string BundlePem();
  template <typename F>
  auto With(F&& f) {
    return world_.With(std::forward<F>(f));
  }

 private:
  struct Services;
  const std::string trust_domain_, path_;
  Guarded<FakeSpireWorld> world_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<grpc::Server> server_;
  std::uint16_t port_ = 0;
  std::string socket_;
};

}  // namespace starling::testing
