#include "sl/sn_link.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/starting.h"
#include "base/text.h"
#include "crypto/json.h"

namespace starling {
namespace {

struct Outgoing {
  bool enrol = false;
  ContractName contract;
  std::string text;
};

// Answers that leave nothing to hope for.
bool IsSplit(const Status& status) { return StableCode(status) == "split-ledger"; }

Status SplitLedger(const Endpoint& sn, const Place& theirs, const Digest& ours) {
  return WithNext(
      WithCode(
          absl::DataLossError(StrCat("split ledger: at position ", theirs.position.value(),
                                     " the SN ", sn.Url(), " has head ", ShortText(theirs.head),
                                     " where this node has read ", ShortText(ours))),
          "split-ledger"),
      "stop the swarm and ask the operator of the SN whether its ledger was restored or replaced");
}

// This SN cannot take it now; the same bytes will do later, or at another SN.
bool IsPassing(const Status& status) {
  const std::string code = StableCode(status);
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsResourceExhausted(status) || absl::IsInternal(status) ||
         // A certificate that one side refuses: it is replaced, or a clock is set.
         absl::IsUnauthenticated(status) || code == "seen-ahead" || code == "bad-answer";
}

// The end of the log after what was sent; a position that is not one reads as the beginning.
Position EndOf(const Json& answer) {
  const Result<std::uint64_t> position = GetUint(answer, "position");
  return Position{position.ok() ? static_cast<std::int64_t>(*position) : -1};
}

}  // namespace

struct SnLink::Impl {
  Impl(SnLinkOptions o, HttpClient& c, const Clock& k, Log l, std::function<void(SnEvent)> e)
      : options(std::move(o)), client(c), clock(k), log(std::move(l)), on_event(std::move(e)) {}

  void Tail(const std::stop_token& stop);
  void SendLoop(const std::stop_token& stop);
  // What is known of one of the threads: since when it has had no answer, and whether that was
  // forgiven once.
  struct Line {
    std::optional<Instant> failing_since;
    bool forgiven = false;
  };
  // What a thread asks.
  struct Attempt {
    Line& line;
    std::size_t sn = 0;
    Instant began;
  };
  struct Answer {
    std::size_t sn = 0;
    Instant at;
  };
  [[nodiscard]] Attempt Begin(Line& line) const { return {line, current.load(), clock.Now()}; }
  // True when `out` need not be sent again.
  bool SendOnce(const Outgoing& out, const std::stop_token& stop);
  Result<LedgerNews> AskForNews(const Endpoint& sn, const Place& at, const std::stop_token& stop);
  Status AskAhead(const Endpoint& sn, const Place& at, const Status& why,
                  const std::stop_token& stop);
  Status NameTheSplit(const Endpoint& sn, const Place& at, const Status& why,
                      const std::stop_token& stop);
  // The SN came, or woke up, while this thread still waited in vain, and has answered the other
  // one. Once: who is never answered while the other one is has a trouble of its own.
  [[nodiscard]] bool Forgives(const Attempt& attempt, const Status& why);
  // The SN of this attempt does not do; the next one is tried, by both threads.
  void Failed(const Attempt& attempt, const Status& why);
  void Works(const Attempt& attempt);
  void NoteClock(const Json& answer);
  void Pause(Duration& pause, const std::stop_token& stop);
  [[nodiscard]] const Endpoint& Sn(std::size_t number) const {
    return options.sns[number % options.sns.size()];
  }
  void AddHeaders(ClientRequest& request) const {
    const std::scoped_lock lock(mutex);
    request.headers["starling-seen"] = StrCat(place.position.value(), ":", HexOf(place.head));
    if (!node.empty()) request.headers["starling-node"] = node;
    if (!options.url.empty()) request.headers["starling-url"] = options.url;
  }

  const SnLinkOptions options;
  HttpClient& client;
  const Clock& clock;
  Log log;
  const std::function<void(SnEvent)> on_event;
  std::atomic<std::size_t> current{0};  // number of the SN in use, modulo how many there are
  mutable std::mutex mutex;
  std::condition_variable_any changed;
  std::deque<Outgoing> queue;  // the front one is being sent
  Place place;                 // newest entry read
  std::string node;            // Starling-Node
  std::string trouble =
      "waiting for the first answer of the SN; next: it is asked again every few "
      "seconds";
  std::chrono::milliseconds ahead{0};  // this node's clock, of the SN's
  bool end_told = false;               // by a LedgerNews; the tail's thread only
  std::optional<UtcTime> trouble_since;
  const Instant began = clock.Now();
  std::optional<Answer> last_answer;  // of any SN, to any thread
  Line tailing, sending;
  bool warned = false;  // of the trouble
  std::jthread tail;    // last: they use what is above
  std::jthread sender;
};

bool SnLink::Impl::Forgives(const Attempt& attempt, const Status& why) {
  const std::scoped_lock lock(mutex);
  if (!attempt.line.failing_since) attempt.line.failing_since = clock.Now();
  return IsAway(why) && last_answer && last_answer->sn == attempt.sn &&
         last_answer->at >= attempt.began && !std::exchange(attempt.line.forgiven, true);
}

void SnLink::Impl::Failed(const Attempt& attempt, const Status& why) {
  if (Forgives(attempt, why)) {
    return log.Info("one question to the SN {} had no answer: {}; next: asked again",
                    Sn(attempt.sn).Url(), TroubleOf(why).what);
  }
  std::string line;
  bool early = false;
  {
    const std::scoped_lock lock(mutex);
    // The other thread may have gone on already.
    std::size_t expected = attempt.sn;
    static_cast<void>(current.compare_exchange_strong(expected, attempt.sn + 1));
    if (!trouble_since) trouble_since = clock.UtcNow();
    const starling::Trouble words = TroubleOf(why);
    const std::string next = options.sns.size() > 1
                                 ? StrCat(Sn(current.load()).Url(), " is asked instead; ")
                                 : "asked again every few seconds; ";
    line = StrCat("no answer from the SN ", Sn(attempt.sn).Url(), " since ",
                  FormatLocalTime(*trouble_since), ": ", words.what, "; next: ", next, words.next);
    early = last_answer
                ? IsAway(why) && clock.Now() - *attempt.line.failing_since < options.patience
                : IsStillStarting(why, clock.Now() - began);
    if (line == trouble && (early || warned)) return;
    trouble = line;
    warned = !early;
  }
  log.Say(early ? LogLevel::kInfo : LogLevel::kWarning, "{}", line);
}

void SnLink::Impl::Works(const Attempt& attempt) {
  const std::scoped_lock lock(mutex);
  last_answer = Answer{attempt.sn, clock.Now()};
  attempt.line = {};
  trouble.clear();
  trouble_since.reset();
}

// Waits and doubles; a stop wakes it.
void SnLink::Impl::Pause(Duration& pause, const std::stop_token& stop) {
  std::unique_lock lock(mutex);
  static_cast<void>(changed.wait_for(lock, stop, pause, [] { return false; }));
  pause = std::min(pause * 2, options.retry_max);
}

Result<LedgerNews> SnLink::Impl::AskForNews(const Endpoint& sn, const Place& at,
                                            const std::stop_token& stop) {
  const std::int64_t from = at.position.value() + 1;
  ClientRequest request;
  request.target = StrCat("/v1/entries?from=", from, "&wait=", Millis(options.poll));
  AddHeaders(request);
  request.idle_timeout = options.poll + options.slack;
  const Result<Json> answer = client.DoJson(sn, request, stop);
  if (StableCode(answer.status()) == "seen-ahead") return AskAhead(sn, at, answer.status(), stop);
  RETURN_IF_ERROR(answer.status());
  NoteClock(*answer);
  ASSIGN_OR_RETURN(LedgerPage page, ParseLedgerPage(*answer, from));
  if (!page.records.empty() &&
      page.records.front().head != NextHead(at.head, page.records.front().entry)) {
    return NameTheSplit(
        sn, at,
        WithCode(absl::DataLossError(
                     StrCat("entry ", from, " does not follow position ", at.position.value())),
                 "bad-answer"),
        stop);
  }
  // What is not final may still be taken back.
  while (!page.records.empty() && page.records.back().position > page.final_end.position)
    page.records.pop_back();
  const std::int64_t last =
      page.records.empty() ? at.position.value() : page.records.back().position;
  return LedgerNews{std::move(page.records), last >= page.final_end.position};
}

// An answer leaves the SN the moment it is made, so the clocks can be compared by it.
void SnLink::Impl::NoteClock(const Json& answer) {
  const Result<std::uint64_t> theirs = GetUint(answer, "now_unix_ms");
  if (!theirs.ok()) return;  // An older SN.
  const std::chrono::milliseconds off(UnixMs(clock.UtcNow()) - static_cast<std::int64_t>(*theirs));
  const std::scoped_lock lock(mutex);
  ahead = off;
}

// The SN's next entry does not follow our last one: it has another head there, which is a split, or
// it talks nonsense.
Status SnLink::Impl::NameTheSplit(const Endpoint& sn, const Place& at, const Status& why,
                                  const std::stop_token& stop) {
  if (at.position.value() < 0) return why;
  ClientRequest request;
  request.target = StrCat("/v1/entries?from=", at.position.value());
  AddHeaders(request);
  ASSIGN_OR_RETURN(const Json answer, client.DoJson(sn, request, stop));
  ASSIGN_OR_RETURN(const LedgerPage page, ParseLedgerPage(answer, at.position.value()));
  if (page.records.empty() || page.records.front().head == at.head) return why;
  return SplitLedger(sn, {at.position, page.records.front().head}, at.head);
}

// The SN's log is shorter than what was read: it was restored from an old copy, and takes back what
// it lacks; or it is another log.
Status SnLink::Impl::AskAhead(const Endpoint& sn, const Place& at, const Status& why,
                              const std::stop_token& stop) {
  const std::int64_t from = at.position.value() + 1;
  ClientRequest request;
  request.target = StrCat("/v1/entries?from=", from);
  ASSIGN_OR_RETURN(const Json answer, client.DoJson(sn, request, stop));
  ASSIGN_OR_RETURN(const LedgerPage page, ParseLedgerPage(answer, from));
  const std::optional<Digest> ours =
      options.kept_log == nullptr ? std::nullopt : options.kept_log->HeadAt(page.end.position);
  if (!ours || *ours == page.end.head) return why;
  return SplitLedger(sn, {Position{page.end.position}, page.end.head}, *ours);
}

void SnLink::Impl::Tail(const std::stop_token& stop) {
  Duration pause = options.retry_first;
  while (!stop.stop_requested()) {
    Place at;
    {
      const std::scoped_lock lock(mutex);
      at = place;
    }
    const Attempt attempt = Begin(tailing);
    Result<LedgerNews> news = AskForNews(Sn(attempt.sn), at, stop);
    if (stop.stop_requested()) return;
    if (IsSplit(news.status())) return on_event(SnRefusal{false, news.status(), ""});
    if (!news.ok()) {
      Failed(attempt, news.status());
      Pause(pause, stop);
      continue;
    }
    Works(attempt);
    pause = options.retry_first;
    if (news->records.empty() && (end_told || !news->at_end)) continue;
    end_told = end_told || news->at_end;
    if (!news->records.empty()) {
      if (options.kept_log != nullptr) options.kept_log->Add(news->records);
      const std::scoped_lock lock(mutex);
      place = Place{Position{news->records.back().position}, news->records.back().head};
    }
    on_event(*std::move(news));
  }
}

bool SnLink::Impl::SendOnce(const Outgoing& out, const std::stop_token& stop) {
  ClientRequest request;
  request.method = "POST";
  request.target = out.enrol ? "/v1/nodes" : "/v1/entries";
  request.headers["content-type"] = "application/json";
  AddHeaders(request);
  request.body = out.enrol ? Json{{"contract", out.contract.value()}, {"claim", out.text}}.dump()
                           : Json{{"entries", Json::array({out.text})}}.dump();
  const Attempt attempt = Begin(sending);
  const Result<Json> answer = client.DoJson(Sn(attempt.sn), request, stop);
  if (answer.ok()) {
    Works(attempt);
    if (out.enrol) on_event(SnEnrolled{EndOf(*answer)});
    if (Has(*answer, "ignored") && !answer->at("ignored").empty() &&
        answer->at("ignored")[0].is_string()) {
      if (std::string reason = answer->at("ignored")[0].get<std::string>(); !reason.empty())
        on_event(SnIgnored{Printable(reason)});
    }
    return true;
  }
  const Status& why = answer.status();
  if (stop.stop_requested()) return true;
  if (out.enrol && StableCode(why) == "seen-too-old") {
    on_event(EnrolAgain{});
    return true;
  }
  // Sent twice because the first answer was lost: it is in the log already.
  if (!out.enrol && StableCode(why) == "seq-used") return true;
  if (IsPassing(why)) {
    Failed(attempt, why);
    return false;
  }
  on_event(SnRefusal{out.enrol, why, out.text});
  return true;
}

void SnLink::Impl::SendLoop(const std::stop_token& stop) {
  Duration pause = options.retry_first;
  while (!stop.stop_requested()) {
    Outgoing out;
    {
      std::unique_lock lock(mutex);
      if (!changed.wait(lock, stop, [this] { return !queue.empty(); })) return;
      out = queue.front();
    }
    if (!SendOnce(out, stop)) {
      Pause(pause, stop);
      continue;
    }
    pause = options.retry_first;
    const std::scoped_lock lock(mutex);
    queue.pop_front();
    changed.notify_all();
  }
}

SnLink::SnLink(SnLinkOptions options, HttpClient& client, const Clock& clock, Log log,
               std::function<void(SnEvent)> on_event)
    : impl_(std::make_unique<Impl>(std::move(options), client, clock, std::move(log),
                                   std::move(on_event))) {
  CHECK(!impl_->options.sns.empty());
  Impl* const impl = impl_.get();
  impl->tail = std::jthread([impl](const std::stop_token& stop) { impl->Tail(stop); });
  impl->sender = std::jthread([impl](const std::stop_token& stop) { impl->SendLoop(stop); });
}

SnLink::~SnLink() {
  impl_->tail.request_stop();
  impl_->sender.request_stop();
}

void SnLink::SendEntry(std::string jws) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->queue.push_back({false, {}, std::move(jws)});
  impl_->changed.notify_all();
}

void SnLink::SendEnrolment(const ContractName& contract, std::string claim) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->queue.push_back({true, contract, std::move(claim)});
  impl_->changed.notify_all();
}

void SnLink::Flush(Duration span) {
  std::unique_lock lock(impl_->mutex);
  static_cast<void>(impl_->changed.wait_for(lock, span, [this] { return impl_->queue.empty(); }));
}

std::string SnLink::Seen() const {
  const std::scoped_lock lock(impl_->mutex);
  return StrCat(impl_->place.position.value(), ":", HexOf(impl_->place.head));
}

void SnLink::SetNode(std::string node) {
  const std::scoped_lock lock(impl_->mutex);
  impl_->node = std::move(node);
}

std::optional<starling::Trouble> SnLink::clock_trouble() const {
  const std::scoped_lock lock(impl_->mutex);
  return ClockTrouble("the clock here", impl_->ahead, "the SN's");
}

std::string SnLink::Trouble() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->trouble;
}

}  // namespace starling
