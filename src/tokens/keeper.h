// `starling spire-tokens`: keeps the registration entries of its configuration in a SPIRE server,
// and in the Secret of each node an unspent join token and the server's trust bundle. It runs
// beside the server, by whose socket it may do everything, and may do one thing in Kubernetes:
// patch these Secrets. So it never asks what there is; the answer to a patch tells it.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "http/health.h"
#include "tokens/config.h"
#include "tokens/secrets_client.h"

namespace starling {

struct TokenKeeperOptions {
  std::string server_socket;
  TokensConfig config;  // with trust domain and namespace
  KubeOptions kube;
  HealthServerOptions health;
  // SPIRE tells nobody that a token is spent or a CA is new, so it is asked.
  Duration look = std::chrono::seconds(5);
  // Somebody may have made a Secret anew, or the server may have lost its entries.
  Duration full_look = std::chrono::seconds(60);
};

struct TokenKeeperDeps {
  const Clock& clock;
  const Log& log;
  // Told the port of the health pages once it is open; may be empty.
  std::function<void(std::uint16_t)> ready;
};

// Returns on `stop`, or at once when the health port cannot be had. Whatever else is wrong is
// logged when it begins, changes and ends, shown at /readyz, and tried again: what the server does
// not do each second to `look`, what Kubernetes does not do 1 s to 30 s later, each Secret for
// itself. /startupz answers 200 from the first attempt on: what is waited for here is started
// beside it. The pauses are real time. No log line, page or error holds a token.
[[nodiscard]] Status RunTokenKeeper(const TokenKeeperOptions& options, const TokenKeeperDeps& deps,
                                    const std::stop_token& stop);

}  // namespace starling
