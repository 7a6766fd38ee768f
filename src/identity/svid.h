// SVIDs, bundles and where they come from. An IdentityState is an immutable snapshot: taken once
// per handshake, so a rotation never tears. Sources are safe from any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/owned.h"
#include "base/result.h"
#include "identity/spiffe_id.h"
#include "openssl/evp.h"
#include "openssl/x509.h"

namespace starling {

using X509Ptr = Owned<X509, &X509_free>;
using KeyPtr = Owned<EVP_PKEY, &EVP_PKEY_free>;

struct Svid {
  SpiffeId id;
  std::vector<std::shared_ptr<X509>> chain;  // leaf first
  std::shared_ptr<EVP_PKEY> key;
  UtcTime not_before;
  UtcTime not_after;
};

// Bundle: the CA certificates that one trust domain is believed by.
struct Bundle {
  std::vector<std::shared_ptr<X509>> roots;
};

struct IdentityState {
  std::shared_ptr<const Svid> svid;       // what this process shows; null: it has none
  std::map<std::string, Bundle> bundles;  // by trust domain
};

// What a source says of itself: for /readyz, /metrics, the log and `starling identity show`.
struct SourceReport {
  std::string source;           // "PEM files", "SPIFFE Workload API unix:///run/agent.sock", …
  Status trouble;               // OK: all is well. Else what is wrong, with its code and next step
  UtcTime trouble_since;        // of `trouble`
  std::uint64_t updates = 0;    // states taken in, the first included
  std::uint64_t rotations = 0;  // of them, those with another certificate of ours
  std::uint64_t bundle_changes = 0;  // how many changed which CAs are trusted
};

// Which of several SVIDs a process takes: by `hint` where one is given, else the first whose path
// is one of the patterns (as in PeerPolicy).
struct SvidChoice {
  std::vector<std::string> paths;
  std::string hint;
};

class SvidSource {
 public:
  virtual ~SvidSource() = default;
  // Never null. Cheap: a shared snapshot. Its `svid` is null while there is no identity: none has
  // come yet, or it was withdrawn.
  [[nodiscard]] virtual std::shared_ptr<const IdentityState> Current() const = 0;
  [[nodiscard]] virtual SourceReport Report() const = 0;
  // Blocks until there is an SVID. DeadlineExceeded after `span`, Cancelled on `stop`; at once with
  // another error where none will ever come.
  [[nodiscard]] virtual Status AwaitIdentity(Duration span, const std::stop_token& stop) const = 0;
};

// PEM files as HPE names them. `cacert`: files of CA certificates, separated by commas, each FILE
// or trust.domain=FILE; `capath`: a folder of such files; either or both. A CA certificate is filed
// under the trust domain of its own SPIFFE ID; one without under that of its file; else under the
// SVID's. Instead of PEM such a file may be a SPIFFE bundle (JSON), whose trust domain must be
// named: by trust.domain=FILE, or in the folder by its name, trust.domain.json. Read by
// pem_source.h.
struct PemFiles {
  std::string cert;
  std::string key;
  std::string cacert;
  std::string capath;
};

// A state that never changes: for tests, and for commands that soon end.
std::unique_ptr<SvidSource> MakeFixedSource(std::shared_ptr<const IdentityState> state);

// Which SPIFFE IDs may be at the other end. A pattern is a path ("/swarm/sl", "*/sl" = any path
// ending in /sl) in one of the trust domains (empty: those of the bundles held).
struct PeerPolicy {
  std::vector<std::string> trust_domains;
  std::vector<std::string> paths;
  [[nodiscard]] bool Allows(const SpiffeId& id) const;
};

// The whole check of a peer's chain (leaf first) at a time: exactly one URI SAN, leaf is no CA and
// has digitalSignature without keyCertSign and cRLSign, chain to the bundle of the leaf's own trust
// domain only, every certificate valid at `at`, each issuer a CA whose SPIFFE ID, if it has one, is
// that trust domain itself, no weak keys or signatures, the policy allows the ID. The error's
// StableCode is one of no-certificate, bad-svid, unknown-trust-domain, unknown-authority, expired,
// not-yet-valid, wrong-path.
Result<SpiffeId> VerifyPeer(const std::vector<X509*>& chain, const IdentityState& state,
                            const PeerPolicy& policy, UtcTime at);
[[nodiscard]] UtcTime NotAfter(const X509& certificate);

}  // namespace starling
