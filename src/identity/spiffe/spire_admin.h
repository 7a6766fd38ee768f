// SPIRE's server as its own operator has it: over the Unix socket that only this machine (or pod)
// reaches, where whoever connects may do everything. Each method is one call of its API, or some
// where an answer has pages. One thread; make one for each piece of work.
//
// Errors say what people can do. Codes: spire-server-unreachable (try again), spire-server-error
// (its own words), wrong-trust-domain. Cancelled when `stop` came first. No error holds a token.
#pragma once

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace starling {

// A registration entry; what is not said here stays as the server has it.
struct SpireEntry {
  std::string id;                           // the server's name for it; "": it makes one up
  std::string path;                         // of the SPIFFE ID, "/swarm/sn"
  std::string parent;                       // the path of an agent or of its alias
  std::vector<std::string> selectors;       // "unix:uid:0"
  std::vector<std::string> dns_names;       // the first is the certificate's common name, too
  std::vector<std::string> federates_with;  // trust domains, without spiffe://
  std::chrono::seconds x509_svid_ttl{0};    // 0: the server's own
  friend bool operator==(const SpireEntry&, const SpireEntry&) = default;
};

struct SpireToken {
  std::string value;
  UtcTime expires;
};

struct SpireAdminOptions {
  std::string socket;  // an absolute path
  std::string trust_domain;
  Duration call_timeout = std::chrono::seconds(10);
};

class SpireAdmin {
 public:
  // Makes no connection yet.
  SpireAdmin(const SpireAdminOptions& options, std::stop_token stop);
  SpireAdmin(const SpireAdmin&) = delete;
  SpireAdmin& operator=(const SpireAdmin&) = delete;
  ~SpireAdmin();

  // PEM of the CAs of the server's trust domain, at least one. wrong-trust-domain: it has another.
  [[nodiscard]] Result<std::string> BundlePem();
  // Those with this ID below this parent, in the order of their ids; "" is any.
  [[nodiscard]] Result<std::vector<SpireEntry>> EntriesOf(const std::string& path,
                                                          const std::string& parent);
  // AlreadyExists: the server has one with this ID, parent and selectors, or this id.
  [[nodiscard]] Status CreateEntry(const SpireEntry& entry);
  // Selectors, DNS names, federation and TTL of the entry with this id.
  [[nodiscard]] Status UpdateEntry(const SpireEntry& entry);
  // OK as well when it is gone.
  [[nodiscard]] Status DeleteEntry(const std::string& id);
  // `alias`: the path by which entries name the agent that this token makes.
  [[nodiscard]] Result<SpireToken> CreateToken(const std::string& alias, std::chrono::seconds ttl);
  // Whether an agent has attested itself with the token, which is spent then.
  [[nodiscard]] Result<bool> TokenIsSpent(const std::string& token);

  // The path of the agent that a token makes; and the token again, "" of any other path.
  [[nodiscard]] static std::string AgentPath(const std::string& token);
  [[nodiscard]] static std::string TokenOf(const std::string& agent_path);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace starling
