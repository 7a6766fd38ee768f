// SnApi: the routes of an SN (docs/formats/http.md): who may call what, parsing, answers. Handlers
// run on connection threads, read snapshots and hold no lock over I/O; what changes the ledger goes
// through SnCore. Borrows everything it is made with.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "http/server.h"
#include "identity/svid.h"
#include "ledger/ledger.h"
#include "sn/api_json.h"
#include "sn/core.h"
#include "sn/feed.h"
#include "sn/presence.h"

namespace starling {

struct SnApiOptions {
  PeerPolicy learners;   // POST /v1/entries and /v1/nodes
  PeerPolicy operators;  // POST /v1/contracts…
  SnSelf self;
};

class SnApi {
 public:
  struct Deps {
    const Clock& clock;
    const Ledger& ledger;
    const Feed& feed;
    SnCore& core;
    Log log;
  };
  SnApi(SnApiOptions options, const Deps& deps);
  SnApi(const SnApi&) = delete;
  SnApi& operator=(const SnApi&) = delete;

  [[nodiscard]] HttpResponse Handle(const HttpRequest& request, const std::stop_token& stop);
  // Requests answered with a status ≥ 400, by stable code.
  [[nodiscard]] std::map<std::string, std::uint64_t> refused() const;

 private:
  [[nodiscard]] HttpResponse Problem(const Status& status, const Json& extra = Json::object());
  [[nodiscard]] Status CheckSeenHeader(const HttpRequest& request) const;
  void AddReads();
  void AddWrites();
  Result<HttpResponse> GetEntries(const RouteMatch& match);
  Result<HttpResponse> PostEntries(const RouteMatch& match);
  HttpResponse PostNodes(const RouteMatch& match);
  Result<HttpResponse> GetContract(const RouteMatch& match) const;
  Result<HttpResponse> PostContracts(const RouteMatch& match);
  Result<HttpResponse> PostContract(const RouteMatch& match);
  [[nodiscard]] HttpResponse GetStatus() const;

  const SnApiOptions options_;
  const Deps deps_;
  const Moment started_;
  Presence presence_;
  Guarded<std::map<std::string, std::uint64_t>> refused_;
  Router router_;
};

}  // namespace starling
