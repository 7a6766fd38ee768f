// An identity by a SPIRE join token: the process is its own SPIRE agent, as HPE's containers were.
// It attests itself with the token once, keeps the agent in its state directory, and has the
// certificate of its entry issued and renewed from then on. docs/identity.md says how to set it up.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "identity/live_source.h"
#include "identity/svid.h"

namespace starling {

struct JoinOptions {
  std::string server_host;
  std::uint16_t server_port = 8081;
  std::string trust_domain;
  std::string token;       // "": the state directory must hold an agent, unless there is a
  std::string token_file;  // that `token` was read from; "": people gave it. bundle_file may come
                           // with it
  // PEM, or SPIFFE's format: the CAs that the server is believed by when attesting, and whenever
  // it is no longer believed by those that it named since. Read each time.
  std::string bundle_file;
  bool insecure_bootstrap = false;  // instead: believe whoever answers, with a warning
  std::string state_dir;            // made where it is missing
  SvidChoice choice;
};

// Starts one thread, which ends promptly with the source, and returns without waiting for an
// identity (LiveSource::AwaitIdentity() does). Fails at once for options that are wrong and where
// an agent is left and no token to make one, nor a file that it may come in: that is a trouble with
// the code join-token-awaited until it is there.
//
// An agent in the state directory is used while it is valid and the token that is given is none or
// the one it came from; another token attests a new agent, and the old one is kept until that has
// worked. A token in a file is for later: it is not used while the agent is valid. When the
// server refuses that, or it ran out, the file is read again and another token in it attests a
// new agent; once there was an identity such a token is waited for. The certificate and the
// agent are renewed when half of what was left of them is over; entries and bundles are read at
// least each minute and each quarter of the certificate's life. An entry that is gone withdraws
// the certificate. A server that does not answer is a trouble, and tried again; so is an agent
// that ran out meanwhile, since only the wall clock says so. Otherwise a spent token and a
// refused agent end the source (LiveSource::Fail): the certificate that is held stays until its
// end. Only one process at a time may use a state directory. `clock` must outlive the source;
// the pauses are real time.
[[nodiscard]] Result<std::unique_ptr<LiveSource>> StartJoinSource(JoinOptions options,
                                                                  const Clock& clock, Log log);

}  // namespace starling
