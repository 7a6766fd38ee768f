// What a SPIFFE Workload API or a SPIRE server says of us, from the bytes on the wire to a checked
// IdentityState. Knows nothing of gRPC, so that it is fuzzed and runs under the sanitizers. Pure;
// any thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "identity/svid.h"

namespace starling {

// The fields of one X509SVID, as they came.
struct SvidFields {
  std::string id;
  std::string chain;   // certificates in DER one after the other, the leaf first
  std::string key;     // PKCS#8 in DER
  std::string bundle;  // of the ID's own trust domain: certificates in DER one after the other
  std::string hint;
};

// One X509SVIDResponse: the whole state, what it lacks is withdrawn.
struct WorkloadState {
  std::vector<SvidFields> svids;
  std::map<std::string, std::string> federated;  // bundles by "domain" or "spiffe://domain"
};

struct WorkloadIdentity {
  std::shared_ptr<const IdentityState> state;  // never null
  // Why `state` has no SVID although some were offered (code no-matching-svid, or as VerifyPeer()
  // says), or that our own trust domain's bundle is empty (empty-bundle).
  Status trouble;
  std::string left_out;  // what else could not be used, in one line for the log; "" when all could
};

// Takes the SVID that `choice` asks for, the first good one where several fit; one that is expired
// or not yet valid only if there is no better. Checks what VerifyPeer() checks of a peer, and that
// the certificate names the ID of the message and the key belongs to it. One of several that is
// broken, or a broken federated bundle, is left out and hurts nothing else: an unread bundle trusts
// nothing, and so does an empty one. A trust domain's bundle is the one beside its SVID; a
// federated bundle never adds to it.
//
// Bundles count even where no SVID can be taken, since what they lack must no longer be trusted.
// An error (codes bad-svid, too-large) means that nothing of the message is to be believed, and
// that what is held should stay.
[[nodiscard]] Result<WorkloadIdentity> ReadWorkloadState(const WorkloadState& raw,
                                                         const SvidChoice& choice, UtcTime at);

}  // namespace starling
