#include "sn/follower.h"

#include <algorithm>
#include <condition_variable>
#include <utility>

#include "base/check.h"
#include "base/starting.h"
#include "base/text.h"
#include "sn/admission.h"

namespace starling {
namespace {

// Refusals that asking again does not change.
bool IsFinal(const Status& status) {
  const std::string code = StableCode(status);
  return code == "split-ledger" || code == "name-taken" || code == "refused" || code == "bad-claim";
}

constexpr std::string_view kPathCharacters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/";

// What of a request goes on to the sentinel.
constexpr const char* kPassedHeaders[] = {"content-type", "starling-seen", "starling-node",
                                          "starling-url"};

}  // namespace

Follower::Follower(FollowerOptions options, const Deps& deps)
    : options_(std::move(options)), deps_(deps), began_(deps.clock.Now()) {
  CHECK(!options_.sentinels.empty());
  shared_.With([&](Shared& shared) { shared.since = deps_.clock.UtcNow(); });
}

Endpoint Follower::sentinel() const {
  return shared_.With([&](const Shared& shared) { return options_.sentinels[shared.current]; });
}

std::string Follower::sentinel_url() const { return sentinel().Url(); }

bool Follower::joined() const {
  const std::shared_ptr<const Snapshot> snapshot = deps_.feed.Current();
  const auto found = snapshot->state.sns.find(options_.name);
  return found != snapshot->state.sns.end() && found->second.key == deps_.key.public_key();
}

ClientRequest Follower::Request(std::string target) const {
  const Place seen = deps_.feed.Current()->end;
  ClientRequest request;
  request.target = std::move(target);
  request.headers["starling-seen"] = StrCat(seen.position.value(), ":", HexOf(seen.head));
  request.headers["starling-node"] = options_.name.value();
  request.headers["starling-url"] = options_.api_url;
  return request;
}

Status Follower::Run(const std::function<void()>& on_caught_up, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any nobody;  // only the stop ends a pause early
  bool told = false;
  Duration pause = options_.retry_first;
  while (!stop.stop_requested()) {
    const Status status = Step(stop);
    if (stop.stop_requested()) break;
    if (IsFinal(status)) return Annotate(status, StrCat("following ", sentinel_url()));
    if (status.ok()) {
      pause = options_.retry_first;
      const bool caught_up = shared_.With([](const Shared& shared) { return shared.caught_up; });
      if (caught_up && on_caught_up && !std::exchange(told, true)) on_caught_up();
      continue;
    }
    Failed(status);
    std::unique_lock lock(mutex);
    static_cast<void>(nobody.wait_for(lock, stop, pause, [] { return false; }));
    pause = std::min(pause * 2, options_.retry_max);
  }
  return absl::OkStatus();
}

// One question for what comes next. The first ones do not wait for news: there is a copy to make.
Status Follower::Step(const std::stop_token& stop) {
  const bool caught_up = shared_.With([](const Shared& shared) { return shared.caught_up; });
  const std::int64_t from = deps_.feed.Current()->end.position.value() + 1;
  ClientRequest request =
      Request(StrCat("/v1/entries?from=", from, "&wait=", caught_up ? Millis(options_.poll) : 0));
  request.idle_timeout = options_.poll + 10s;
  const Result<Json> answer = deps_.tail_client.DoJson(sentinel(), request, stop);
  if (StableCode(answer.status()) == "seen-ahead") return AskAhead(answer.status(), stop);
  RETURN_IF_ERROR(answer.status());
  ASSIGN_OR_RETURN(const LedgerPage page, ParseLedgerPage(*answer, from));
  RETURN_IF_ERROR(TakePage(page, stop));
  const Place end = deps_.feed.Current()->end;
  if (page.final_end.position == end.position.value() && page.final_end.head != end.head)
    return SplitLedger({end.position, page.final_end.head}, end.head, "the sentinel has");
  if (page.final_end.position < end.position.value()) {
    return WithCode(
        absl::FailedPreconditionError(StrCat("its log ends at position ", page.final_end.position,
                                             ", and this copy at ", end.position.value())),
        "seen-ahead");
  }
  if (page.final_end.position > end.position.value()) {
    if (page.records.empty()) {
      return WithCode(absl::DataLossError(StrCat("shows no entry ", from, ", but an end at ",
                                                 page.final_end.position)),
                      "bad-answer");
    }
    return absl::OkStatus();
  }
  // An empty log has nobody who could let this node in.
  if (page.end.position < 0) {
    return WithNext(absl::UnavailableError("has no ledger yet"), "start the sentinel");
  }
  if (!joined()) return Join(stop);
  Works();
  return absl::OkStatus();
}

Status Follower::TakePage(const LedgerPage& page, const std::stop_token& stop) {
  std::span<const LedgerRecord> final_records(page.records);
  while (!final_records.empty() && final_records.back().position > page.final_end.position)
    final_records = final_records.first(final_records.size() - 1);
  const Status status = deps_.core.Take(final_records, Trust::kOrdered).status();
  return StableCode(status) == "does-not-follow" ? NameTheSplit(status, stop) : status;
}

// The sentinel's log is shorter than this copy: it was restored from an old one, and takes back
// what it lacks; or it is another log.
Status Follower::AskAhead(const Status& why, const std::stop_token& stop) {
  const std::int64_t from = deps_.feed.Current()->end.position.value() + 1;
  ClientRequest request = Request(StrCat("/v1/entries?from=", from));
  request.headers.erase("starling-seen");
  ASSIGN_OR_RETURN(const Json answer, deps_.tail_client.DoJson(sentinel(), request, stop));
  ASSIGN_OR_RETURN(const LedgerPage page, ParseLedgerPage(answer, from));
  const Place theirs{Position(page.end.position), page.end.head};
  const std::optional<Digest> ours = deps_.feed.HeadAt(theirs.position);
  if (ours && *ours != theirs.head) return SplitLedger(theirs, *ours, "the sentinel has");
  return why;
}

// The sentinel's next entry does not follow our last one: it has another head there, or it talks
// nonsense. Its own word on that place tells which.
Status Follower::NameTheSplit(const Status& why, const std::stop_token& stop) {
  const Place end = deps_.feed.Current()->end;
  if (end.position.value() < 0) return why;
  ClientRequest request = Request(StrCat("/v1/entries?from=", end.position.value()));
  ASSIGN_OR_RETURN(const Json answer, deps_.tail_client.DoJson(sentinel(), request, stop));
  ASSIGN_OR_RETURN(const LedgerPage page, ParseLedgerPage(answer, end.position.value()));
  if (page.records.empty() || page.records.front().head == end.head) return why;
  return SplitLedger({end.position, page.records.front().head}, end.head, "the sentinel has");
}

Status Follower::Join(const std::stop_token& stop) {
  ClientRequest request = Request("/v1/sns");
  request.method = "POST";
  request.headers["content-type"] = "application/json";
  const std::string claim = SignSnClaim(
      deps_.key,
      {.name = options_.name, .key = deps_.key.public_key(), .api_url = options_.api_url}, 1,
      deps_.feed.Current()->end);
  request.body = Json{{"claim", claim}}.dump();
  return deps_.tail_client.DoJson(sentinel(), request, stop).status();
}

void Follower::Works() {
  const bool was_away = shared_.With([](Shared& shared) {
    shared.caught_up = true;
    return !std::exchange(shared.trouble, "").empty();
  });
  if (!was_away) return;
  deps_.log.Info("following the sentinel at {}", sentinel_url());
  deps_.core.SetUpstreamWait(std::nullopt);
}

void Follower::Failed(const Status& why) {
  const std::string url = sentinel_url();
  const std::string text = std::string(why.message());
  const bool still = IsStillStarting(why, deps_.clock.Now() - began_);
  bool early = false;
  const bool news = shared_.With([&](Shared& shared) {
    early = still && !shared.caught_up;
    shared.current = (shared.current + 1) % options_.sentinels.size();
    if (shared.trouble.empty()) shared.since = deps_.clock.UtcNow();
    const bool was_warned = std::exchange(shared.warned, !early);
    return std::exchange(shared.trouble, text) != text || (!early && !was_warned);
  });
  if (!news) return;
  const std::string line =
      StrCat("the sentinel at ", url, ": ", text,
             "; reads are answered, entries wait for it; next: asked again, every ",
             options_.retry_max / 1s, " s at the latest");
  deps_.log.Say(early ? LogLevel::kInfo : LogLevel::kWarning, "{}", line);
  deps_.core.SetUpstreamWait(
      UpstreamWait{.what = StrCat("the sentinel is away: ", text),
                   .since = deps_.clock.Now(),
                   .next = "this SN asks it again, every few seconds; look at the sentinel"});
}

Status Follower::upstream() const {
  const auto [trouble, since] =
      shared_.With([](const Shared& shared) { return std::pair(shared.trouble, shared.since); });
  if (trouble.empty()) return absl::OkStatus();
  return WithNext(
      WithCode(absl::UnavailableError(StrCat("the sentinel ", sentinel_url(), " is away since ",
                                             FormatUtc(since), ": ", trouble)),
               "sentinel-away"),
      "asked again, every few seconds; look at the sentinel");
}

std::string Follower::ReadyLine() const {
  const Status status = upstream();
  if (status.ok()) return StrCat("ready, follows ", sentinel_url());
  return StrCat(std::string(status.message()), "; next: ", NextStep(status));
}

HttpResponse Follower::Forward(const HttpRequest& request, const std::stop_token& stop) {
  // Paths come decoded; none of ours needs more than this.
  if (request.path.find_first_not_of(kPathCharacters) != std::string::npos)
    return ProblemResponse(absl::NotFoundError("no such path here"));
  ClientRequest passed;
  passed.method = request.method;
  passed.target = request.path;
  passed.body = request.body;
  for (const char* const name : kPassedHeaders) {
    if (std::string value = request.Header(name); !value.empty()) passed.headers[name] = value;
  }
  if (request.peer) passed.headers["starling-for"] = request.peer->text();
  const Endpoint to = sentinel();
  Result<ClientResponse> answer = deps_.forward_client.Do(to, passed, stop);
  if (!answer.ok()) {
    return ProblemResponse(WithNext(
        WithCode(absl::UnavailableError(StrCat("the sentinel ", to.Url(), " does not answer: ",
                                               std::string(answer.status().message()))),
                 "sentinel-away"),
        "ask again in a second, or another SN"));
  }
  HttpResponse response;
  response.status = answer->status;
  response.headers["content-type"] = answer->headers["content-type"];
  response.body = std::move(answer->body);
  return response;
}

}  // namespace starling
