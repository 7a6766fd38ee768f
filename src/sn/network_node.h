// The network node (SN): keeps the ledger, replays it, decides closes and serves the API.
// RunNetworkNode blocks until `stop`; everything it touches comes in through NetworkNodeDeps. As
// sentinel on an empty ledger it appends entry 0. Otherwise it follows the sentinel: it joins,
// keeps a verified copy of the whole ledger, answers reads from it and passes on what is said.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/result.h"
#include "http/server.h"
#include "identity/svid.h"
#include "protocol/sn_decider.h"

namespace starling {

struct NetworkNodeConfig {
  std::string name = "sn";                   // "" at a following SN: one that its key gives
  std::string state_dir;                     // ledger.db, ledger-key.pem, uuid
  std::string advertise_host = "localhost";  // THIS_NODE_IP
  std::uint16_t advertise_port = 0;          // behind a proxy; 0: the port that is listened on
  std::string listen_address = "0.0.0.0";
  std::uint16_t api_port = 30304;    // 0: a free one
  std::uint16_t health_port = 9464;  // 0: a free one
  bool sentinel = true;
  std::vector<std::string> sentinel_urls;  // where a following SN finds it; tried in turn
  bool auto_create = true;      // trainings without an operator's create step, as HPE 0.3 needs
  bool allow_loopback = false;  // learning nodes may have loopback addresses
  bool hpe03_log_form = false;  // "port :30304" instead of "port: 30304"
  SnOptions decider;
  HttpServerOptions http;
  std::vector<std::string> sl_paths, sn_paths, operator_paths;  // peer path patterns
  std::vector<std::string> trust_domains;
  Duration identity_wait = 300s;  // for the first certificate
};

struct NetworkNodeDeps {
  const Clock& clock;
  Random& random;
  const SvidSource& identity;
  Log log;
  // Called once when the ports are open (they may have been 0).
  std::function<void(std::uint16_t api_port, std::uint16_t health_port)> on_ready;
};

[[nodiscard]] Status RunNetworkNode(const NetworkNodeConfig& config, const NetworkNodeDeps& deps,
                                    const std::stop_token& stop);

}  // namespace starling
