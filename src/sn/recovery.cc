#include "sn/recovery.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

#include "base/text.h"
#include "http/async_requests.h"
#include "sn/admission.h"

namespace starling {
namespace {

ClientRequest Question(std::int64_t from) { return {.target = StrCat("/v1/entries?from=", from)}; }

}  // namespace

void Recovery::Shown(const ShownPlace& shown, const std::stop_token& stop) {
  if (shown.url.empty()) return;  // A person with curl: there is nobody to ask.
  const Instant now = deps_.clock.Now();
  const std::string key = StrCat(shown.who, " ", shown.url);
  const Status why = WithNext(
      WithCode(absl::UnavailableError(StrCat(
                   "this ledger ends at position ", deps_.feed.Current()->end.position.value(),
                   ", and ", shown.who, " has seen position ", shown.place.position.value(),
                   ": the entries between are taken back before anything is appended")),
               "catching-up"),
      "this SN asks the other nodes for them; if none has them, bring its newest ledger.db back");
  const bool is_new = open_.With([&](Open& open) {
    const auto found = open.claims.find(key);
    if (found == open.claims.end() && open.claims.size() >= options_.claims_max) return false;
    deps_.core.Hold(why);
    if (found == open.claims.end()) {
      open.claims.emplace(key, Claim{shown, now});
      return true;
    }
    found->second = Claim{shown, now};
    return false;
  });
  if (!is_new) return;
  if (!IsForeign({shown.who, shown.url}, stop))
    return deps_.log.Warning("{}", ErrorLine(why, "sn"));
  open_.With([&](Open& open) {
    open.claims.erase(key);
    if (open.claims.empty() && !open.asking) deps_.core.Release();
  });
}

bool Recovery::due() const {
  return open_.With([](const Open& open) { return open.asking || !open.claims.empty(); });
}

std::vector<Recovery::Source> Recovery::Known() const {
  std::vector<Source> sources;
  const std::shared_ptr<const Snapshot> snapshot = deps_.feed.Current();
  for (const auto& [name, sn] : snapshot->state.sns) {
    if (sn.kid != options_.own_kid) sources.push_back({name.value(), sn.api_url});
  }
  for (const auto& [name, contract] : snapshot->state.contracts) {
    if (contract.phase == Phase::kDone) continue;
    for (const auto& [node_name, node] : contract.nodes) {
      if (node.present) sources.push_back({node_name.value(), node.blob_url});
    }
  }
  open_.With([&](const Open& open) {
    for (const auto& [key, claim] : open.claims) {
      if (!claim.shown.url.empty()) sources.push_back({claim.shown.who, claim.shown.url});
    }
  });
  return sources;
}

Result<LedgerPage> Recovery::Ask(const Source& source, std::int64_t from,
                                 const std::stop_token& stop) const {
  ASSIGN_OR_RETURN(const Endpoint to, Endpoint::ParsePeer(source.url, options_.allow_loopback));
  ASSIGN_OR_RETURN(const Json answer, deps_.client.DoJson(to, Question(from), stop));
  return ParseLedgerPage(answer, from);
}

std::vector<Recovery::Answer> Recovery::AskAll(const std::vector<Source>& sources,
                                               std::int64_t from,
                                               const std::stop_token& stop) const {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::vector<Answer> answers;
  {
    AsyncRequests requests(deps_.client, options_.asked_at_once);
    std::size_t asked = 0;
    for (const Source& source : sources) {
      const bool under_way =
          requests.Ask(Endpoint::ParsePeer(source.url, options_.allow_loopback), Question(from),
                       [&mutex, &changed, &answers, source](Result<Json> answer) {
                         const std::scoped_lock lock(mutex);
                         answers.push_back({source, std::move(answer)});
                         changed.notify_all();
                       });
      if (under_way) ++asked;
    }
    std::unique_lock lock(mutex);
    static_cast<void>(changed.wait(lock, stop, [&] { return answers.size() == asked; }));
  }
  return answers;
}

// Where its first entry is not ours.
bool Recovery::IsForeign(const Source& source, const std::stop_token& stop) const {
  const Result<LedgerPage> page = Ask(source, 0, stop);
  const std::optional<Digest> first = deps_.feed.HeadAt(Position{0});
  if (!page.ok() || page->records.empty() || !first || page->records.front().head == *first)
    return false;
  deps_.log.Warning("{} at {} has the ledger of another swarm", source.name, source.url);
  return true;
}

void Recovery::TakeFrom(const Answer& answer, std::int64_t from, const std::stop_token& stop) {
  const Source& source = answer.source;
  Result<LedgerPage> page = answer.json.ok() ? ParseLedgerPage(*answer.json, from)
                                             : Result<LedgerPage>(answer.json.status());
  std::int64_t taken = 0;
  for (;;) {
    if (stop.stop_requested()) return;
    if (!page.ok()) {
      deps_.log.Info("{} shows no entries: {}", source.name, std::string(page.status().message()));
      return;
    }
    const std::int64_t before = deps_.feed.Current()->end.position.value();
    const Status status = deps_.core.Take(page->records, Trust::kSigned).status();
    if (StableCode(status) == "split-ledger") {
      if (IsForeign(source, stop)) {
        with_nothing_more_.insert(source.url);
        return;
      }
      return deps_.core.Halt(Annotate(status, StrCat(source.name, " at ", source.url)));
    }
    if (!status.ok()) {
      deps_.log.Warning("the entries of {} are not taken: {}", source.name,
                        std::string(status.message()));
      return;
    }
    const std::int64_t end = deps_.feed.Current()->end.position.value();
    taken += end - before;
    const bool whole = page->final_end.position <= end;
    if (whole) with_nothing_more_.insert(source.url);
    if (whole || end == before) break;
    from = end;
    page = Ask(source, from, stop);
  }
  if (taken > 0)
    deps_.log.Warning("took {} entries back from {}, which this ledger had lost", taken,
                      source.name);
}

void Recovery::Run(const std::stop_token& stop) {
  open_.With([](Open& open) { open.asking = true; });
  with_nothing_more_.clear();
  std::set<std::string> asked;
  while (!stop.stop_requested()) {
    std::vector<Source> sources = Known();
    // The entries that were taken name further nodes.
    std::erase_if(sources, [&](const Source& source) { return !asked.insert(source.url).second; });
    if (sources.empty()) break;
    // From our last entry on, so that a node with another one there shows it.
    const std::int64_t from = std::max<std::int64_t>(0, deps_.feed.Current()->end.position.value());
    for (const Answer& answer : AskAll(sources, from, stop)) TakeFrom(answer, from, stop);
  }
  if (!stop.stop_requested()) Settle(stop);
}

void Recovery::Settle(const std::stop_token& stop) {
  const Instant now = deps_.clock.Now();
  std::vector<ShownPlace> contradicted;
  const auto is_settled = [&](const Claim& claim) {
    const std::optional<Digest> ours = deps_.feed.HeadAt(claim.shown.place.position);
    if (ours && *ours != claim.shown.place.head) contradicted.push_back(claim.shown);
    // It has answered, and has no more than we have.
    if (ours || with_nothing_more_.contains(claim.shown.url)) return true;
    if (now - claim.newest < options_.claim_age_max) return false;
    deps_.log.Warning("nobody has the entries up to position {} that {} has shown",
                      claim.shown.place.position.value(), claim.shown.who);
    return true;
  };
  open_.With([&](Open& open) {
    std::erase_if(open.claims, [&](const auto& item) { return is_settled(item.second); });
  });
  for (const ShownPlace& shown : contradicted) {
    Contradicted(shown,
                 SplitLedger(shown.place, *deps_.feed.HeadAt(shown.place.position),
                             StrCat(shown.who, " has")),
                 stop);
  }
  open_.With([&](Open& open) {
    open.asking = false;
    if (open.claims.empty()) deps_.core.Release();
  });
}

void Recovery::Contradicted(const ShownPlace& shown, const Status& why,
                            const std::stop_token& stop) {
  if (shown.url.empty()) return;  // A person with curl; nobody's log.
  if (!IsForeign({shown.who, shown.url}, stop)) deps_.core.Halt(why);
}

}  // namespace starling
