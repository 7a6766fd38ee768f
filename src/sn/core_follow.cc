// SnCore and other copies of its log: what a following SN takes from its sentinel, a restored
// sentinel from everybody, and how a newcomer joins.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "crypto/jws.h"
#include "sn/admission.h"
#include "sn/api_json.h"
#include "sn/core.h"

namespace starling {
namespace {

Status Refuse(Status status, std::string_view code, std::string_view next) {
  return WithNext(WithCode(std::move(status), code), next);
}

// Did the entry that was just applied pass its header test? Then its seq is used.
bool PassedHeaderTest(const Replay& replay, const std::string& entry) {
  const Result<Jws> jws = ParseJws(entry, kEntryTyp);
  if (!jws.ok()) return false;
  const Result<Statement> statement = ParseStatement(jws->payload);
  if (!statement.ok()) return false;
  const auto last = replay.state().last_seq.find(jws->kid);
  return last != replay.state().last_seq.end() && last->second == statement->seq;
}

}  // namespace

Status SnCore::MayAppendLocked() const {
  if (!options_.orders) {
    return Refuse(absl::FailedPreconditionError("a following SN appends nothing itself"),
                  "follower", "ask the sentinel");
  }
  return hold_;
}

Status SnCore::CheckFounder() const {
  const std::scoped_lock lock(mutex_);
  ASSIGN_OR_RETURN(const std::vector<LedgerRecord> first, deps_.ledger.Read(0, {.entries_max = 1}));
  const std::string founder = first.empty() ? "" : FounderOf(first.front().entry);
  for (const auto& [name, sn] : replay_.state().sns) {
    if (sn.key != deps_.key.public_key()) continue;
    if (name.value() == founder) return absl::OkStatus();
    return Refuse(absl::FailedPreconditionError(
                      StrCat("this ledger is a copy, and SN ", founder,
                             " orders it: two SNs that both do would make two ledgers")),
                  "not-the-sentinel",
                  "name the sentinel: --sentinel-ip HOST --sentinel-api-port PORT");
  }
  return Refuse(absl::FailedPreconditionError(
                    "the ledger here was made by another ledger key than this node's"),
                "wrong-ledger-key",
                "put the ledger-key.pem that belongs to this ledger.db back, or start with an "
                "empty state directory");
}

Result<Place> SnCore::Join(std::string_view claim_text) {
  const Result<SignedSnClaim> parsed = ParseSnClaim(claim_text);
  if (!parsed.ok()) {
    return Refuse(parsed.status(), "bad-claim",
                  "send an SN claim as docs/protocol.md describes it");
  }
  const SnClaim& claim = parsed->claim;
  const std::scoped_lock lock(mutex_);
  RETURN_IF_ERROR(MayAppendLocked());
  const auto& sns = replay_.state().sns;
  for (const auto& [name, sn] : sns) {
    if (sn.key != claim.key) continue;
    if (name == claim.name) return committed_;  // The first answer was lost, or it comes again.
    return Refuse(absl::AbortedError(StrCat("this ledger key has joined as ", name.value())),
                  "refused", StrCat("start this node with --name ", name.value()));
  }
  if (sns.contains(claim.name)) {
    return Refuse(absl::AlreadyExistsError(StrCat("an SN named ", claim.name.value(),
                                                  " has joined with another ledger key")),
                  "name-taken",
                  "start this node with another --name, or put its ledger-key.pem back");
  }
  RETURN_IF_ERROR(CheckSeen(replay_, parsed->seen));
  SnJoined joined;
  joined.claim = std::string(claim_text);
  std::string entry = SignLocked(ContractName{}, std::move(joined));
  if (const Verdict verdict = replay_.Try(entry); !verdict.valid())
    return Refuse(absl::AbortedError(verdict.reason), "refused", "use a new ledger key");
  static_cast<void>(StageLocked(std::move(entry)));
  DecideLocked();
  RETURN_IF_ERROR(CommitLocked());
  deps_.log.Info("SN {} has joined: {}", claim.name.value(), claim.api_url);
  return committed_;
}

Status SnCore::CompareLocked(const LedgerRecord& record) const {
  const Place shown{Position(record.position), record.head};
  ASSIGN_OR_RETURN(const Digest ours, replay_.HeadAt(shown.position));
  return ours == shown.head ? absl::OkStatus() : SplitLedger(shown, ours, "the other copy has");
}

Status SnCore::CheckFollowsLocked(std::span<const LedgerRecord> records) const {
  Place end = replay_.place();
  for (const LedgerRecord& record : records) {
    if (record.position != end.position.value() + 1 ||
        record.head != NextHead(end.head, record.entry)) {
      return Refuse(absl::DataLossError(StrCat("entry ", record.position,
                                               " does not follow the head at position ",
                                               end.position.value())),
                    "does-not-follow", "look at the SN that shows it");
    }
    end = {Position(record.position), record.head};
  }
  return absl::OkStatus();
}

Result<Place> SnCore::Take(std::span<const LedgerRecord> records, Trust trust) {
  const std::scoped_lock lock(mutex_);
  while (!records.empty() && Position(records.front().position) <= committed_.position) {
    RETURN_IF_ERROR(CompareLocked(records.front()));
    records = records.subspan(1);
  }
  if (records.empty()) return committed_;
  RETURN_IF_ERROR(CheckFollowsLocked(records));
  if (trust == Trust::kSigned) {
    Replay trial = replay_;
    for (const LedgerRecord& record : records) {
      const Verdict verdict = trial.Apply(record.entry);
      if (PassedHeaderTest(trial, record.entry)) continue;
      return Refuse(absl::PermissionDeniedError(StrCat("entry ", record.position,
                                                       " cannot be of this log: ", verdict.reason)),
                    "bad-entry", "look at the node that shows it");
    }
  }
  // Durable before anybody sees it.
  if (const Status status = deps_.ledger.Copy(records); !status.ok()) {
    broken_ = status;
    ShowHealthLocked();
    return Refuse(Annotate(absl::UnavailableError(status.message()), "copying the ledger"),
                  "ledger-unavailable", "look at the disk of this SN");
  }
  for (const LedgerRecord& record : records) {
    const Verdict verdict = replay_.Apply(record.entry);
    notes_.push_back({replay_.place().head, verdict.author, verdict.reason});
  }
  DecideLocked();
  RETURN_IF_ERROR(CommitLocked());
  if (deps_.on_decided) deps_.on_decided();
  return committed_;
}

void SnCore::Hold(Status why) {
  const std::scoped_lock lock(mutex_);
  if (halted_) return;
  if (hold_.ok()) held_since_ = deps_.clock.Now();
  hold_ = std::move(why);
  ShowHealthLocked();
}

void SnCore::Release() {
  const std::scoped_lock lock(mutex_);
  if (halted_ || hold_.ok()) return;
  hold_ = absl::OkStatus();
  ShowHealthLocked();
  DecideAndCommitLocked();
  if (deps_.on_decided) deps_.on_decided();
}

void SnCore::Halt(Status why) {
  const std::scoped_lock lock(mutex_);
  if (std::exchange(halted_, true)) return;
  hold_ = std::move(why);
  held_since_ = deps_.clock.Now();
  ShowHealthLocked();
  deps_.log.Error("{}", ErrorLine(hold_, "sn"));
  DecideAndCommitLocked();
}

void SnCore::SetUpstreamWait(std::optional<UpstreamWait> wait) {
  const std::scoped_lock lock(mutex_);
  if (wait == upstream_wait_) return;
  upstream_wait_ = std::move(wait);
  DecideAndCommitLocked();
}

// Instead of decisions: what every training waits for, as far as this SN can tell.
void SnCore::ShowWaitsLocked() {
  wake_at_.reset();
  waiting_.clear();
  if (!hold_.ok() || upstream_wait_) {
    for (const auto& [name, contract] : replay_.state().contracts) {
      if (contract.phase == Phase::kDone) continue;
      Waiting wait;
      wait.contract = name;
      wait.what = hold_.ok() ? upstream_wait_->what : std::string(hold_.message());
      wait.since = hold_.ok() ? upstream_wait_->since : held_since_;
      wait.next = hold_.ok() ? upstream_wait_->next : NextStep(hold_);
      waiting_.push_back(std::move(wait));
    }
    return;
  }
  // The decider's words hold for whoever decides; what it would say is the sentinel's to say.
  waiting_ = decider_.Decide(replay_.state(), deps_.clock.Now()).waiting;
}

}  // namespace starling
