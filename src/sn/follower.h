// Follower: a following SN's line to its sentinel. One thread tails the sentinel's log into the
// core, which verifies and copies it, and joins once it has caught up; requests that say something
// are passed on, from any thread. It reconnects for ever, with pauses that grow to `retry_max`;
// every wait ends with the stop token. Borrows everything it is made with.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "crypto/ed25519.h"
#include "http/client.h"
#include "ledger/page.h"
#include "sn/core.h"
#include "sn/feed.h"

namespace starling {

struct FollowerOptions {
  std::vector<Endpoint> sentinels;  // at least one; tried in turn
  NodeName name;
  std::string api_url;  // where others reach this SN
  Duration poll = 20s;  // how long one tail request waits at the sentinel
  Duration retry_first = 100ms;
  Duration retry_max = 5s;
};

class Follower {
 public:
  struct Deps {
    SnCore& core;
    const Feed& feed;
    HttpClient& tail_client;     // its body limit is that of a page's answer
    HttpClient& forward_client;  // for requests that are passed on
    const Clock& clock;
    const SigningKey& key;
    Log log;
  };
  Follower(FollowerOptions options, const Deps& deps);
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  // Tails until `stop` (OK), or until going on would be wrong: split-ledger, or a join that is
  // refused. `on_caught_up` runs once, when the copy has reached the sentinel's end and this SN has
  // joined.
  [[nodiscard]] Status Run(const std::function<void()>& on_caught_up, const std::stop_token& stop);

  // Asks the sentinel in the name of whoever asks here, and passes its answer through.
  [[nodiscard]] HttpResponse Forward(const HttpRequest& request, const std::stop_token& stop);
  // OK while the sentinel answers; else Unavailable (code sentinel-away): what is wrong, since
  // when.
  [[nodiscard]] Status upstream() const;
  [[nodiscard]] std::string sentinel_url() const;
  // For /readyz: "ready, https://…", or for whom this node waits, since when, what happens next.
  [[nodiscard]] std::string ReadyLine() const;

 private:
  struct Shared {
    std::size_t current = 0;                       // index of the sentinel's address in use
    std::string trouble = "has not answered yet";  // "" while it answers
    UtcTime since;                                 // of the trouble
    bool caught_up = false;
    bool warned = false;  // of the trouble
  };
  [[nodiscard]] ClientRequest Request(std::string target) const;
  Status Step(const std::stop_token& stop);
  Status TakePage(const LedgerPage& page, const std::stop_token& stop);
  Status AskAhead(const Status& why, const std::stop_token& stop);
  Status NameTheSplit(const Status& why, const std::stop_token& stop);
  Status Join(const std::stop_token& stop);
  [[nodiscard]] bool joined() const;
  [[nodiscard]] Endpoint sentinel() const;
  void Works();
  void Failed(const Status& why);

  const FollowerOptions options_;
  const Deps deps_;
  const Instant began_;
  Guarded<Shared> shared_;
};

}  // namespace starling
