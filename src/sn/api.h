// SnApi: the routes of an SN (docs/formats/http.md): who may call what, parsing, answers. Handlers
// run on connection threads, read snapshots and hold no lock over I/O; what changes the ledger goes
// through SnCore. Borrows everything it is made with.
#pragma once

#include <functional>
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
#include "sn/recovery.h"

namespace starling {

struct SnApiOptions {
  PeerPolicy learners;   // POST /v1/entries and /v1/nodes
  PeerPolicy operators;  // POST /v1/contracts…
  PeerPolicy networks;   // POST /v1/sns; these also speak for others (Starling-For)
  SnSelf self;
};

// What an SN that follows does with what it cannot answer itself; empty at the sentinel.
struct Upstream {
  std::function<HttpResponse(const HttpRequest&, const std::stop_token&)> forward;
  std::function<Status()> state;     // OK while the sentinel answers
  std::function<std::string()> url;  // of the sentinel
};

class SnApi {
 public:
  struct Deps {
    const Clock& clock;
    const Ledger& ledger;
    const Feed& feed;
    SnCore& core;
    Log log;
    Upstream upstream;
    // At the sentinel: somebody has shown a place beyond our end, or another head at a place of
    // ours; `why` is what that request is answered.
    std::function<void(const ShownPlace&, const std::stop_token&)> on_ahead;
    std::function<void(const ShownPlace&, const Status& why, const std::stop_token&)> on_split;
    // What is wrong with this SN itself; empty: nothing ever is.
    std::function<std::vector<Waiting>()> troubles;
  };
  SnApi(SnApiOptions options, const Deps& deps);
  SnApi(const SnApi&) = delete;
  SnApi& operator=(const SnApi&) = delete;

  [[nodiscard]] HttpResponse Handle(const HttpRequest& request, const std::stop_token& stop);
  // Requests answered with a status ≥ 400, by stable code.
  [[nodiscard]] std::map<std::string, std::uint64_t> refused() const;

 private:
  [[nodiscard]] HttpResponse Problem(const Status& status, const Json& extra = Json::object());
  [[nodiscard]] bool follows() const { return deps_.upstream.forward != nullptr; }
  [[nodiscard]] HttpResponse HandleOf(const HttpRequest& request, const std::stop_token& stop);
  void NoteWhoAsks(const HttpRequest& request);
  [[nodiscard]] Status CheckSeenHeader(const HttpRequest& request,
                                       const std::stop_token& stop) const;
  [[nodiscard]] Status CheckPlace(const Place& seen) const;
  Status WaitForEntries(Position begin, Duration patience, const std::stop_token& stop) const;
  void AddReads();
  void AddWrites();
  Result<HttpResponse> GetEntries(const RouteMatch& match);
  [[nodiscard]] HttpResponse GetNodes();
  Result<HttpResponse> PostSns(const RouteMatch& match);
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
