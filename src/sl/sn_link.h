// SnLink: this SL's line to the SNs: a thread that tails the log (verified head by head) and one
// that sends what was signed, in order, the same bytes until it is in the log. When the SN in use
// goes, is behind or has lost its own sentinel, the next one is tried: the log is the same at all
// of them, and the same bytes again are a success, so nothing is lost or said twice. Construct,
// then destroy to stop; Send* from any thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "http/client.h"
#include "ledger/ledger.h"
#include "protocol/ids.h"
#include "protocol/waiting.h"
#include "sl/kept_log.h"

namespace starling {

struct LedgerNews {
  std::vector<LedgerRecord> records;
  bool at_end = false;  // the final log goes no further, as the SN showed it
};
// The SN refused for good: why, and what was sent. `enrol`: it was an enrolment.
struct SnRefusal {
  bool enrol = false;
  Status why;
  std::string entry;
};
// The SN has taken the enrolment; the log holds it at this position or before.
struct SnEnrolled {
  Position position;
};
// The enrolment was signed too early; sign it again once the log has grown.
struct EnrolAgain {};
// A statement was stored and is void by now, or says something the log says already.
struct SnIgnored {
  std::string reason;
};
using SnEvent = std::variant<LedgerNews, SnRefusal, SnEnrolled, EnrolAgain, SnIgnored>;

struct SnLinkOptions {
  std::vector<Endpoint> sns;  // at least one
  // How long one tail request waits at the SN, and how much longer for its answer: an SN that is
  // silent is known to be within their sum.
  Duration poll = 4s;
  Duration slack = 4s;
  Duration retry_first = 100ms;
  Duration retry_max = 5s;
  // Once an SN was heard, questions may have no answer for so long, as of one that is held up for a
  // moment, before that is a warning. The next one is asked at once.
  Duration patience = 15s;
  std::string url;              // where an SN that lacks entries may ask this SL for them
  KeptLog* kept_log = nullptr;  // borrowed; gets what was read
};

class SnLink {
 public:
  // `on_event` runs on the link's threads. Borrows client and clock.
  SnLink(SnLinkOptions options, HttpClient& client, const Clock& clock, Log log,
         std::function<void(SnEvent)> on_event);
  SnLink(const SnLink&) = delete;
  SnLink& operator=(const SnLink&) = delete;
  ~SnLink();

  void SendEntry(std::string jws);
  void SendEnrolment(const ContractName& contract, std::string claim);
  // Returns once everything sent so far is in the log or refused, or after `span`.
  void Flush(Duration span);
  // The newest place read, as the header Starling-Seen shows it.
  [[nodiscard]] std::string Seen() const;
  // Who asks, for LIST NODES at the SN: "<training>/<node>".
  void SetNode(std::string node);
  // "" while the SN answers; else what is wrong, since when, and what happens next.
  [[nodiscard]] std::string Trouble() const;
  // The clock here and that of the SN are too far apart; nothing while they are not.
  [[nodiscard]] std::optional<starling::Trouble> clock_trouble() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace starling
