#include "sn/core.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "sn/admission.h"

namespace starling {
namespace {

// A close may lead to nothing further by itself; more turns than this in one go is a fault of the
// decider.
constexpr int kDecisionsMax = 64;
// How far back the bytes of a repeated entry are looked for.
constexpr std::int64_t kRepeatWindow = 256;
constexpr Duration kQuietAfterVoid = 5s;
// Trainings live in the ledger for good; learning nodes alone cannot fill it with them.
constexpr std::size_t kAutoCreatedMax = 10'000;

Status Refuse(Status status, std::string_view code, std::string_view next) {
  return WithNext(WithCode(std::move(status), code), next);
}

}  // namespace

Result<std::unique_ptr<SnCore>> SnCore::Open(const SnCoreOptions& options, const Deps& deps) {
  std::unique_ptr<SnCore> core(new SnCore(options, deps));
  const std::scoped_lock lock(core->mutex_);
  RETURN_IF_ERROR(Annotate(core->ReloadLocked(), "replaying the ledger"));
  core->ShowHealthLocked();
  return core;
}

Status SnCore::ReloadLocked() {
  const Position published = deps_.feed.Current()->end.position;
  replay_ = Replay();
  staged_.clear();
  notes_.clear();
  while (replay_.place().position.value() < deps_.ledger.End().position) {
    ASSIGN_OR_RETURN(const std::vector<LedgerRecord> records,
                     deps_.ledger.Read(replay_.place().position.value() + 1, LedgerReadOptions{}));
    if (records.empty()) return absl::DataLossError("the ledger answers no entries before its end");
    for (const LedgerRecord& record : records) {
      const Verdict verdict = replay_.Apply(record.entry);
      if (replay_.place().head != record.head) {
        return absl::DataLossError(StrCat("entry ", record.position, ": the running head differs"));
      }
      if (Position(record.position) > published)
        notes_.push_back({record.head, verdict.author, verdict.reason});
    }
  }
  committed_ = replay_.place();
  PublishLocked();
  return absl::OkStatus();
}

Verdict SnCore::StageLocked(std::string entry) {
  Verdict verdict = replay_.Apply(entry);
  notes_.push_back({replay_.place().head, verdict.author, verdict.reason});
  staged_.push_back(std::move(entry));
  return verdict;
}

std::string SnCore::SignLocked(const ContractName& contract, Event event) const {
  const auto& last_seq = replay_.state().last_seq;
  const auto last = last_seq.find(deps_.key.kid());
  return SignStatement(deps_.key, Statement{.contract = contract,
                                            .seq = last == last_seq.end() ? 1 : last->second + 1,
                                            .seen = committed_,
                                            .event = std::move(event)});
}

Verdict SnCore::StageOwnLocked(const ContractName& contract, Event event) {
  return StageLocked(SignLocked(contract, std::move(event)));
}

Status SnCore::CreateLedger(const NodeName& name, const std::string& api_url) {
  const std::scoped_lock lock(mutex_);
  if (committed_.position.value() >= 0)
    return absl::FailedPreconditionError("the ledger is not empty");
  SnJoined joined;
  joined.claim = SignSnClaim(
      deps_.key, {.name = name, .key = deps_.key.public_key(), .api_url = api_url}, 1, Place{});
  joined.protocol = 1;
  joined.finality = "embedded";
  // The claim may count as a use of its seq, so the statement's is the next one.
  const std::string entry = SignStatement(
      deps_.key, Statement{.contract = {}, .seq = 2, .seen = Place{}, .event = std::move(joined)});
  const Verdict verdict = StageLocked(entry);
  if (!verdict.valid()) {
    static_cast<void>(ReloadLocked());
    return absl::InternalError(StrCat("entry 0 would be ignored: ", verdict.reason));
  }
  return CommitLocked();
}

Result<SnCore::Appended> SnCore::Append(std::span<const std::string> entries) {
  if (entries.empty()) return absl::InvalidArgumentError("an append carries at least one entry");
  std::size_t bytes = 0;
  for (const std::string& entry : entries) bytes += entry.size();
  if (bytes > kAppendBytesMax) {
    return Refuse(absl::ResourceExhaustedError(StrCat("an append is at most ", kAppendBytesMax,
                                                      " bytes, this one has ", bytes)),
                  "append-too-large", "send fewer entries at once");
  }
  const std::scoped_lock lock(mutex_);
  RETURN_IF_ERROR(MayAppendLocked());
  Appended out;
  if (Status status = StagePostedLocked(entries, out); !status.ok()) {
    if (StableCode(status) == "seq-used" && CheckRepeatLocked(entries).ok()) {
      out.ignored.assign(entries.size(), "");
      out.end = committed_;
      return out;
    }
    return status;
  }
  DecideLocked();
  RETURN_IF_ERROR(CommitLocked());
  out.end = committed_;
  return out;
}

Status SnCore::StagePostedLocked(std::span<const std::string> entries, Appended& out) {
  if (entries.size() == 1) {
    RETURN_IF_ERROR(CheckHeader(replay_, entries[0]).status());
  } else {
    Replay trial = replay_;  // An entry's header may depend on the one before it.
    for (std::size_t i = 0; i < entries.size(); ++i) {
      RETURN_IF_ERROR(Annotate(CheckHeader(trial, entries[i]).status(), StrCat("entry ", i)));
      static_cast<void>(trial.Apply(entries[i]));
    }
  }
  for (const std::string& entry : entries) {
    Verdict verdict = StageLocked(entry);
    out.ignored.push_back(std::move(verdict.reason));
    out.authors.emplace_back(std::move(verdict.contract), NodeName(std::move(verdict.author)));
  }
  return absl::OkStatus();
}

Status SnCore::CheckRepeatLocked(std::span<const std::string> entries) const {
  const std::int64_t from =
      std::max<std::int64_t>(0, committed_.position.value() + 1 - kRepeatWindow);
  ASSIGN_OR_RETURN(const std::vector<LedgerRecord> records,
                   deps_.ledger.Read(from, LedgerReadOptions{}));
  std::size_t matched = 0;
  for (const LedgerRecord& record : records) {
    if (matched < entries.size() && record.entry == entries[matched]) ++matched;
  }
  return matched == entries.size() ? absl::OkStatus()
                                   : absl::NotFoundError("not the bytes that are in the ledger");
}

Status SnCore::AutoCreateLocked(const ContractName& contract, const SpiffeId& peer) {
  const auto found = replay_.state().contracts.find(contract);
  const Contract* previous = found == replay_.state().contracts.end() ? nullptr : &found->second;
  if (previous != nullptr && !previous->rules.admins.empty()) {
    return Refuse(absl::PermissionDeniedError(
                      StrCat("training \"", contract.value(), "\" is over and has administrators")),
                  "training-done", "one of them starts it again: starling training create");
  }
  if (previous == nullptr && replay_.state().contracts.size() >= kAutoCreatedMax) {
    return Refuse(absl::ResourceExhaustedError("too many trainings to create one more by itself"),
                  "too-many-trainings",
                  "use a training that exists, or have an operator create it");
  }
  const std::string entry = SignLocked(
      contract, ContractCreated{.rules = OpenRules(previous),
                                .claim = OperatorClaim{.jws = "", .spiffe_id = peer.text()}});
  const Verdict verdict = replay_.Try(entry);
  if (!verdict.valid()) {
    return Refuse(absl::AbortedError(StrCat("training \"", contract.value(),
                                            "\" cannot be created: ", verdict.reason)),
                  "refused", "ask an operator to create it");
  }
  static_cast<void>(StageLocked(entry));
  DecideLocked();
  RETURN_IF_ERROR(CommitLocked());
  return Refuse(
      absl::AbortedError(StrCat("training \"", contract.value(), "\" was created just now")),
      "seen-too-old", "sign the claim again with the place given here");
}

Result<Place> SnCore::Enrol(const ContractName& contract, std::string_view claim,
                            const SpiffeId& peer) {
  Result<SignedNodeClaim> parsed = ParseNodeClaim(claim);
  if (!parsed.ok())
    return Refuse(parsed.status(), "bad-claim",
                  "send a node claim as docs/protocol.md describes it");
  if (parsed->contract != contract) {
    return Refuse(absl::InvalidArgumentError("the claim names another training than the request"),
                  "bad-claim", "name one training");
  }
  const std::scoped_lock lock(mutex_);
  RETURN_IF_ERROR(MayAppendLocked());
  const auto found = replay_.state().contracts.find(contract);
  const bool exists = found != replay_.state().contracts.end();
  if (!exists || (found->second.phase == Phase::kDone && !parsed->claim.instance)) {
    if (!options_.auto_create || (!exists && parsed->claim.instance)) {
      return Refuse(absl::NotFoundError(StrCat("no training \"", contract.value(),
                                               exists ? "\" runs here: it is over" : "\" here")),
                    "no-such-training", "an operator creates it: starling training create");
    }
    return AutoCreateLocked(contract, peer);
  }
  if (found->second.phase == Phase::kDone) {
    return Refuse(absl::AbortedError(StrCat("training \"", contract.value(), "\" is over")),
                  "training-done",
                  "fetch the final model, or enrol without an instance to start it anew");
  }
  RETURN_IF_ERROR(CheckSeen(replay_, parsed->seen));
  if (parsed->seen.position < found->second.instance) {
    return Refuse(absl::AbortedError("the claim was signed before this training began"),
                  "seen-too-old", "sign the claim again with the place given here");
  }
  std::string entry =
      SignLocked(contract, NodeEnrolled{.claim = std::string(claim), .spiffe_id = peer.text()});
  const Verdict verdict = replay_.Try(entry);
  if (!verdict.valid()) {
    // The answer to the same claim was lost: the node is in already.
    const Node* const known = found->second.Find(parsed->claim.name);
    if (known != nullptr && known->present && known->key == parsed->claim.key &&
        known->blob_url == parsed->claim.blob_url)
      return committed_;
    if (verdict.reason == "the claim was used before")
      return Refuse(absl::AbortedError(verdict.reason), "claim-used", "sign another claim");
    const bool taken = verdict.reason.ends_with("is taken by a node that is present");
    return Refuse(absl::AbortedError(verdict.reason), taken ? "name-taken" : "refused",
                  taken ? "wait until the swarm has noticed that the other one is away"
                        : "compare this node's program and options with the training's rules");
  }
  static_cast<void>(StageLocked(std::move(entry)));
  DecideLocked();
  RETURN_IF_ERROR(CommitLocked());
  return committed_;
}

Result<Position> SnCore::Operate(const ContractName& contract, Event event) {
  const std::scoped_lock lock(mutex_);
  RETURN_IF_ERROR(MayAppendLocked());
  const auto& contracts = replay_.state().contracts;
  const auto found = contracts.find(contract);
  const bool creates = std::holds_alternative<ContractCreated>(event);
  if (creates && found != contracts.end() && found->second.phase != Phase::kDone) {
    return Refuse(absl::AlreadyExistsError(
                      StrCat("training \"", contract.value(), "\" exists and is not over")),
                  "exists", "reset it, or choose another name");
  }
  if (!creates && found == contracts.end()) {
    return Refuse(absl::NotFoundError(StrCat("no training \"", contract.value(), "\" here")),
                  "no-such-training", "starling training list shows what there is");
  }
  std::string entry = SignLocked(contract, std::move(event));
  const Verdict verdict = replay_.Try(entry);
  if (!verdict.valid())
    return Refuse(absl::AbortedError(verdict.reason), "refused",
                  "starling training show tells the state");
  static_cast<void>(StageLocked(std::move(entry)));
  const Position position = replay_.place().position;
  DecideLocked();
  RETURN_IF_ERROR(CommitLocked());
  return position;
}

SnOptions SnCore::DeciderOptions(const SnCoreOptions& options, const Deps& deps) {
  SnOptions decider = options.decider;
  decider.probe = deps.probe != nullptr;
  return decider;
}

void SnCore::OnTime() {
  const std::scoped_lock lock(mutex_);
  DecideAndCommitLocked();
}

void SnCore::OnProbe(ProbeId id, const ProbeAnswer& answer) {
  const std::scoped_lock lock(mutex_);
  decider_.OnProbe(id, answer, deps_.clock.Now());
  DecideAndCommitLocked();
  if (deps_.on_decided) deps_.on_decided();
}

void SnCore::DecideAndCommitLocked() {
  DecideLocked();
  if (const Status status = CommitLocked(); !status.ok())
    deps_.log.Error("{}", ErrorLine(status, "sn"));
}

void SnCore::DecideLocked() {
  if (!options_.orders || !hold_.ok()) return ShowWaitsLocked();
  const Instant now = deps_.clock.Now();
  for (int turn = 0; turn < kDecisionsMax; ++turn) {
    SnTodo todo = decider_.Decide(replay_.state(), now);
    waiting_ = std::move(todo.waiting);
    wake_at_ = todo.wake_at;
    for (const Probe& probe : todo.probes) {
      if (deps_.probe) deps_.probe(probe);
    }
    for (const SnTodo::Notice& notice : todo.notices)
      deps_.log.Warning("training {}: {}", notice.contract.value(), notice.text);
    if (todo.appends.empty() || now < quiet_until_) return;
    for (SnTodo::Append& append : todo.appends) {
      const Verdict verdict = StageOwnLocked(append.contract, std::move(append.event));
      if (verdict.valid()) continue;
      // A void entry harms nobody, but saying it again and again would fill the ledger.
      deps_.log.Error("own entry {} for training {} is ignored: {}", verdict.type,
                      append.contract.value(), verdict.reason);
      quiet_until_ = now + kQuietAfterVoid;
      wake_at_ = quiet_until_;
      return;
    }
  }
  deps_.log.Error("the decider does not come to rest; it is asked again in {} s",
                  kQuietAfterVoid / 1s);
  quiet_until_ = now + kQuietAfterVoid;
}

Status SnCore::FlushLocked() {
  std::size_t begin = 0;
  while (begin < staged_.size()) {
    std::size_t end = begin, bytes = 0;
    while (end < staged_.size() && (end == begin || bytes + staged_[end].size() <= kAppendBytesMax))
      bytes += staged_[end++].size();
    ASSIGN_OR_RETURN(const LedgerEnd at,
                     deps_.ledger.Append(std::span(staged_).subspan(begin, end - begin)));
    static_cast<void>(at);
    begin = end;
  }
  staged_.clear();
  return absl::OkStatus();
}

Status SnCore::CommitLocked() {
  const bool grows = !staged_.empty();
  if (Status status = FlushLocked(); !status.ok()) {
    // The replay has seen entries that are not in the ledger: take it back to what is.
    const Status reloaded = ReloadLocked();
    broken_ = reloaded.ok() ? status : reloaded;
    ShowHealthLocked();
    const std::string next = NextStep(status);
    return WithNext(
        WithCode(Annotate(absl::UnavailableError(status.message()), "appending to the ledger"),
                 "ledger-unavailable"),
        next.empty() ? "look at the disk of the SN; the same entries can be sent again" : next);
  }
  if (grows) broken_ = absl::OkStatus();  // Only an append shows that appends work again.
  ShowHealthLocked();
  committed_ = replay_.place();
  const LedgerEnd end = deps_.ledger.End();
  if (end.position != committed_.position.value() || end.head != committed_.head) {
    broken_ = absl::DataLossError("the ledger and its replay have come apart");
    deps_.log.Error("{}", ErrorLine(broken_, "sn"));
    ShowHealthLocked();
    return broken_;
  }
  const std::shared_ptr<const Snapshot> before = deps_.feed.Current();
  PublishLocked();
  LogChangesLocked(before->state);
  if (grows && deps_.on_decided) deps_.on_decided();
  return absl::OkStatus();
}

void SnCore::PublishLocked() {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->state = replay_.state();
  snapshot->end = replay_.place();
  snapshot->waiting = waiting_;
  deps_.feed.Publish(std::move(snapshot), std::exchange(notes_, {}));
}

void SnCore::LogChangesLocked(const LedgerState& before) const {
  for (const auto& [name, contract] : replay_.state().contracts) {
    const auto found = before.contracts.find(name);
    const Contract* old = found == before.contracts.end() ? nullptr : &found->second;
    const bool fresh = old == nullptr || old->instance != contract.instance;
    if (fresh)
      deps_.log.Info("training {}: created at entry {}", name.value(), contract.instance.value());
    for (const auto& [node_name, node] : contract.nodes) {
      if (fresh || !old->nodes.contains(node_name))
        deps_.log.Info("training {}: {} has enrolled", name.value(), node_name.value());
    }
    if (!contract.sealed_round || (!fresh && old->sealed_round == contract.sealed_round)) continue;
    std::string by;
    for (const Member& member : contract.sealed_members)
      StrAppend(&by, by.empty() ? "" : ", ", member.name.value());
    const Digest& root = contract.roots.at(*contract.sealed_round);
    deps_.log.Info("training {}: round {} is sealed: {} by {}", name.value(),
                   contract.sealed_round->value(), ShortText(root), by);
    if (contract.phase == Phase::kDone)
      deps_.log.Info("training {}: over; the final model is {}", name.value(), RootText(root));
  }
}

std::optional<Instant> SnCore::wake_at() const {
  const std::scoped_lock lock(mutex_);
  return wake_at_;
}

void SnCore::ShowHealthLocked() {
  Status health = hold_.ok() ? broken_ : hold_;
  const Instant now = deps_.clock.Now();
  shown_.With([&](Shown& shown) {
    if (shown.health.ok() || health.ok()) shown.since = now;
    shown.health = std::move(health);
  });
}

Status SnCore::health() const {
  return shown_.With([](const Shown& shown) { return shown.health; });
}

Instant SnCore::unhealthy_since() const {
  return shown_.With([](const Shown& shown) { return shown.since; });
}

void SnCore::CheckLedger() {
  const Status writable = deps_.ledger.CheckWritable();
  const std::scoped_lock lock(mutex_);
  const bool locked = StableCode(broken_) == "ledger-locked";
  if (broken_.ok() || (writable.ok() && locked)) broken_ = writable;
  ShowHealthLocked();
}

}  // namespace starling
