// The learning node (SL): stands beside one training program, exchanges and merges its parameters
// with other SLs. RunLearningNode blocks until the training is over, the program has failed, or
// `stop`; the answer is the exit code to pass on. Everything it touches comes in through
// LearningNodeDeps.
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

namespace starling {

struct LearningNodeConfig {
  std::string name;                                 // node name in the training; default: host name
  std::string contract = "defaultbb.cqdb.sml.hpe";  // used when the program names none
  std::string state_dir;             // ledger-key.pem, models/, updates/, result.json
  std::vector<std::string> sn_urls;  // https://host:port, tried in order
  std::string advertise_host = "localhost";
  std::uint16_t advertise_port = 0;  // behind a proxy; 0: the port that is listened on
  std::string listen_address = "0.0.0.0";
  std::uint16_t blob_port = 30305;   // 0: a free one
  std::uint16_t health_port = 9464;  // 0: a free one
  std::string socket_path;           // of the bridge; default <state_dir>/starling.sock
  std::string arena_dir;             // "" = memfd
  std::vector<std::string> program;  // argv; empty: wait for a program on the socket (sidecar)
  std::string initial_file;          // --initial: a model this node holds from its enrolment on
  bool may_lead = true;              // SL_MAKE_ME_ADMIN
  bool keep_updates = false;
  std::size_t keep_models = 10;
  bool allow_loopback = false;
  Duration linger = 600s;
  bool stay = false;  // ends only when it is stopped, or with an error
  Duration stall_timeout = 5s;
  Duration word_every = 5s;      // while its program waits: how often it says for whom
  Duration program_grace = 10s;  // between SIGTERM and SIGKILL of the program
  HttpServerOptions http;
  std::vector<std::string> sl_paths, sn_paths, operator_paths, trust_domains;
  Duration identity_wait = 300s;  // for the first certificate
};

struct LearningNodeDeps {
  const Clock& clock;
  Random& random;
  const SvidSource& identity;
  Log log;
  std::function<void(std::uint16_t blob_port, std::uint16_t health_port)> on_ready;
};

// The exit code for the process (0, the program's own, 1 for our failures). An error Status is a
// failure before or beside the program; main prints it.
[[nodiscard]] Result<int> RunLearningNode(const LearningNodeConfig& config,
                                          const LearningNodeDeps& deps,
                                          const std::stop_token& stop);

}  // namespace starling
