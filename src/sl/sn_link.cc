#include "sl/sn_link.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/check.h"
#include "base/text.h"
#include "crypto/json.h"

namespace starling {
namespace {

struct Outgoing {
  bool enrol = false;
  ContractName contract;
  std::string text;
};

Result<LedgerRecord> ParseRecord(const Json& object) {
  LedgerRecord record;
  ASSIGN_OR_RETURN(const std::uint64_t position, GetUint(object, "position"));
  ASSIGN_OR_RETURN(const std::uint64_t time, GetUint(object, "time_unix_ms"));
  ASSIGN_OR_RETURN(const std::string head, GetString(object, "head", 64));
  ASSIGN_OR_RETURN(record.head, ParseHexDigest(head));
  ASSIGN_OR_RETURN(record.entry, GetString(object, "entry", kAppendBytesMax));
  record.position = static_cast<std::int64_t>(position);
  record.time_unix_ms = static_cast<std::int64_t>(time);
  return record;
}

Result<std::int64_t> FinalPosition(const Json& answer) {
  ASSIGN_OR_RETURN(const Json* const place, GetObject(answer, "final"));
  const auto position = place->find("position");
  if (position == place->end() || !position->is_number_integer())
    return absl::InvalidArgumentError("the answer names no final position");
  return position->get<std::int64_t>();
}

Result<std::vector<LedgerRecord>> ParseTail(const Json& answer, const Place& place) {
  ASSIGN_OR_RETURN(const Json* const entries, GetArray(answer, "entries", 1000));
  ASSIGN_OR_RETURN(const std::int64_t final_position, FinalPosition(answer));
  std::vector<LedgerRecord> records;
  Place at = place;
  for (const Json& entry : *entries) {
    ASSIGN_OR_RETURN(LedgerRecord record, ParseRecord(entry));
    if (record.position != at.position.value() + 1 ||
        record.head != NextHead(at.head, record.entry)) {
      return WithNext(
          WithCode(absl::DataLossError(StrCat("split ledger: the SN's entry ", record.position,
                                              " does not follow what this node has read")),
                   "split-ledger"),
          "stop the swarm and ask the operator of the SN whether its ledger was restored or "
          "replaced");
    }
    if (record.position > final_position) break;  // It may still be taken back.
    at = Place{Position{record.position}, record.head};
    records.push_back(std::move(record));
  }
  return records;
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
  // True when `out` need not be sent again.
  bool SendOnce(const Outgoing& out, const std::stop_token& stop);
  void Failed(const Status& why);
  void Works();
  void Pause(Duration& pause, const std::stop_token& stop);
  [[nodiscard]] const Endpoint& Sn() const {
    return options.sns[current.load() % options.sns.size()];
  }
  void AddHeaders(ClientRequest& request) const {
    const std::scoped_lock lock(mutex);
    request.headers["starling-seen"] = StrCat(place.position.value(), ":", HexOf(place.head));
    if (!node.empty()) request.headers["starling-node"] = node;
  }

  const SnLinkOptions options;
  HttpClient& client;
  const Clock& clock;
  Log log;
  const std::function<void(SnEvent)> on_event;
  std::atomic<std::size_t> current{0};  // index of the SN in use
  mutable std::mutex mutex;
  std::condition_variable_any changed;
  std::deque<Outgoing> queue;  // the front one is being sent
  Place place;                 // newest entry read
  std::string node;            // Starling-Node
  std::string trouble = "waiting for the first answer of the SN";
  bool end_told = false;  // by a LedgerNews; the tail's thread only
  std::optional<UtcTime> trouble_since;
  std::jthread tail;  // last: they use what is above
  std::jthread sender;
};

void SnLink::Impl::Failed(const Status& why) {
  ++current;
  std::string line;
  {
    const std::scoped_lock lock(mutex);
    if (!trouble_since) trouble_since = clock.UtcNow();
    line = StrCat("no answer from the SN since ", FormatLocalTime(*trouble_since), ": ",
                  std::string(why.message()));
    if (line == trouble) return;
    trouble = line;
  }
  log.Warning("{}; next: {}", line, Sn().Url());
}

void SnLink::Impl::Works() {
  const std::scoped_lock lock(mutex);
  trouble.clear();
  trouble_since.reset();
}

// Waits and doubles; a stop wakes it.
void SnLink::Impl::Pause(Duration& pause, const std::stop_token& stop) {
  std::unique_lock lock(mutex);
  static_cast<void>(changed.wait_for(lock, stop, pause, [] { return false; }));
  pause = std::min(pause * 2, options.retry_max);
}

void SnLink::Impl::Tail(const std::stop_token& stop) {
  Duration pause = options.retry_first;
  while (!stop.stop_requested()) {
    Place at;
    {
      const std::scoped_lock lock(mutex);
      at = place;
    }
    ClientRequest request;
    request.target =
        StrCat("/v1/entries?from=", at.position.value() + 1, "&wait=", Millis(options.poll));
    AddHeaders(request);
    request.idle_timeout = options.poll + 10s;
    const Result<Json> answer = client.DoJson(Sn(), request, stop);
    Result<std::vector<LedgerRecord>> records =
        answer.ok() ? ParseTail(*answer, at) : Result<std::vector<LedgerRecord>>(answer.status());
    if (stop.stop_requested()) return;
    if (!records.ok()) {
      if (StableCode(records.status()) == "split-ledger")
        return on_event(SnRefusal{false, records.status(), ""});
      Failed(records.status());
      Pause(pause, stop);
      continue;
    }
    Works();
    pause = options.retry_first;
    const std::int64_t last = records->empty() ? at.position.value() : records->back().position;
    const bool at_end = last >= FinalPosition(*answer).value_or(last);
    if (records->empty() && (end_told || !at_end)) continue;
    end_told = end_told || at_end;
    if (!records->empty()) {
      const std::scoped_lock lock(mutex);
      place = Place{Position{last}, records->back().head};
    }
    on_event(LedgerNews{*std::move(records), at_end});
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
  const Result<Json> answer = client.DoJson(Sn(), request, stop);
  if (answer.ok()) {
    Works();
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
  if (absl::IsUnavailable(why) || absl::IsDeadlineExceeded(why) || absl::IsResourceExhausted(why) ||
      absl::IsInternal(why)) {
    Failed(why);
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

std::string SnLink::Trouble() const {
  const std::scoped_lock lock(impl_->mutex);
  return impl_->trouble;
}

}  // namespace starling
