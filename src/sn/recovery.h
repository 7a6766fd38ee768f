// Recovery: gives a sentinel back what its log has lost. A sentinel that starts may have been
// restored from an old copy, and then it must say nothing before it has its newest entries again:
// it would make another log out of the same beginning. So it asks everybody that its log names (and
// whoever shows a place beyond its end) for what comes after, and takes what is signed and follows.
// Run() belongs to one thread, Shown() and Contradicted() to any. Borrows what it is made with.
#pragma once

#include <map>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "http/client.h"
#include "ledger/page.h"
#include "sn/core.h"
#include "sn/feed.h"

namespace starling {

// Somebody's newest final place, as a request has shown it.
struct ShownPlace {
  Place place;
  std::string url;  // where it can be asked; "" when it did not say
  std::string who;  // its SPIFFE ID
};

struct RecoveryOptions {
  bool allow_loopback = false;
  std::string own_kid;  // we do not ask ourselves
  std::size_t asked_at_once = 32;
  std::size_t claims_max = 1024;
  // A claim that is shown no more, and that nobody could make good, is forgotten after this.
  Duration claim_age_max = 60s;
};

class Recovery {
 public:
  struct Deps {
    SnCore& core;
    const Feed& feed;
    HttpClient& client;  // its time-outs bound each question
    const Clock& clock;
    Log log;
  };
  Recovery(RecoveryOptions options, const Deps& deps) : options_(std::move(options)), deps_(deps) {}
  Recovery(const Recovery&) = delete;
  Recovery& operator=(const Recovery&) = delete;

  // A place beyond our end: appends are held from here on, until Run() has settled it. The first
  // time, that node is asked at once: another swarm's ledger is its own trouble. Blocks for one
  // question.
  void Shown(const ShownPlace& shown, const std::stop_token& stop);
  // Another head at a place that we have. Asks that node: if its log is another from the first
  // entry on, it belongs to another swarm and that is its own trouble; else this log has been
  // forked, and this SN halts with `why`. Blocks for one question.
  void Contradicted(const ShownPlace& shown, const Status& why, const std::stop_token& stop);

  // Is there a claim to settle, or has nobody been asked yet?
  [[nodiscard]] bool due() const;
  // Asks everybody for what comes after our end, takes it, and settles the claims that this could
  // settle. Appends are released once no claim is left.
  void Run(const std::stop_token& stop);

 private:
  struct Claim {
    ShownPlace shown;
    Instant newest;
  };
  struct Source {
    std::string name;
    std::string url;
  };
  struct Answer {
    Source source;
    Result<Json> json;
  };
  [[nodiscard]] std::vector<Source> Known() const;
  [[nodiscard]] std::vector<Answer> AskAll(const std::vector<Source>& sources, std::int64_t from,
                                           const std::stop_token& stop) const;
  [[nodiscard]] Result<LedgerPage> Ask(const Source& source, std::int64_t from,
                                       const std::stop_token& stop) const;
  void TakeFrom(const Answer& answer, std::int64_t from, const std::stop_token& stop);
  [[nodiscard]] bool IsForeign(const Source& source, const std::stop_token& stop) const;
  void Settle(const std::stop_token& stop);

  const RecoveryOptions options_;
  const Deps deps_;
  struct Open {
    std::map<std::string, Claim> claims;  // by who and url
    bool asking = true;                   // a run is under way, or the first one is to come
  };
  // Core's hold is set and released under this lock, so that no claim comes between a look and a
  // release.
  Guarded<Open> open_;
  std::set<std::string> with_nothing_more_;  // urls that have answered in this run; Run's thread
};

}  // namespace starling
