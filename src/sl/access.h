// Access: who may have which bytes (docs/protocol.md, "Access"; docs/formats/http.md). Pure:
// contract, request and time in, yes or the refusal out. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "crypto/jws.h"
#include "crypto/merkle.h"
#include "identity/spiffe_id.h"
#include "protocol/state.h"

namespace starling {

// The bearer token of a request for an update.
struct GetToken {
  std::string server;  // kid of the holder
  Digest root;
  std::uint64_t begin = 0, end = 0;  // bytes; both 0: the leaf list
  std::int64_t exp_unix_s = 0;
  Position instance;
  RoundId round;
  Digest set;
};
[[nodiscard]] std::string SignGetToken(const SigningKey& key, const GetToken& token);

struct UpdateAccess {
  const Contract& contract;
  std::string holder_kid;  // ours
  UtcTime now;
};
// The member of P that asks, once its token is in order: signature, server, time, open round, set.
// The refusal says which was not; its code is `not-for-you`, or `not-yet` when the token speaks of
// a close that this node has not read so far.
struct Asker {
  NodeName name;
  GetToken token;
};
[[nodiscard]] Result<Asker> CheckToken(std::string_view authorization, const UpdateAccess& access);

// An owner may have its run; any other member exactly its audited chunks (`run_leaves_root` of each
// owner's run, as far as known).
[[nodiscard]] bool IsOwnRun(const Contract& contract, const NodeName& asker, ByteRange range);
[[nodiscard]] bool IsAuditedChunk(const Contract& contract, const NodeName& asker,
                                  std::uint64_t owner, const Digest& run_leaves_root,
                                  ByteRange range);

// A merged model, its leaf list or a run: a peer whose SPIFFE ID is an enrolled node's
// (`operators_too`: or matches an operator's policy, decided by the caller).
[[nodiscard]] Status CheckEnrolled(const Contract* contract, const std::optional<SpiffeId>& peer);

}  // namespace starling
