#include "sl/node_loop.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <future>
#include <utility>

#include "base/check.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr Duration kLookEvery = 1s;     // at this node's own troubles
constexpr Duration kHeaderWithin = 3s;  // to ask another node for its header, for a message
constexpr std::uint64_t kHashInParallelFrom = std::uint64_t{16} << 20;

// Leaves of a blob, by two threads when it is large.
LeafList HashLeaves(ByteSpan blob) {
  if (blob.size() < kHashInParallelFrom) return LeavesOf(blob);
  const std::uint64_t half = ChunkCount(blob.size()) / 2 * kChunkBytes;
  std::future<LeafList> second =
      std::async(std::launch::async, [&] { return LeavesOf(blob.subspan(half)); });
  LeafList leaves = LeavesOf(blob.first(half));
  const LeafList rest = second.get();
  leaves.insert(leaves.end(), rest.begin(), rest.end());
  return leaves;
}

}  // namespace

NodeLoop::NodeLoop(NodeParts parts)
    : parts_(parts),
      keeper_(std::make_unique<Keeper>(KeeperOptions{}, parts.store,
                                       [this](const KeepJob& job, Status status) {
                                         parts_.board.Notify();
                                         Post(KeepDone{job, std::move(status)});
                                       })) {}

NodeLoop::~NodeLoop() = default;

void NodeLoop::Post(LoopEvent event) { static_cast<void>(mail_.Push(std::move(event))); }

void NodeLoop::FromBridge(BridgeEvent event) {
  const bool open = session_shared_.With([](const auto& shared) { return shared != nullptr; });
  if (auto* frame = std::get_if<ProgramFrame>(&event); frame != nullptr && open) {
    if (const auto* sync = std::get_if<SyncFrame>(frame))
      return HashAndPost(std::nullopt, sync->report);
    if (const auto* finish = std::get_if<FinishFrame>(frame))
      return HashAndPost(finish->mode, finish->report);
  }
  Post(LoopEvent{std::move(event)});
}

void NodeLoop::Connect(SnLink& link, Bridge& bridge, AsyncRequests& probes) {
  link_ = &link;
  bridge_ = &bridge;
  probes_ = &probes;
}

const Contract* NodeLoop::contract() const {
  if (session_ == nullptr) return nullptr;
  const auto it = state().contracts.find(session_->contract);
  return it == state().contracts.end() ? nullptr : &it->second;
}

const Node* NodeLoop::OwnNode() const {
  const Contract* const now = contract();
  if (now == nullptr || !decider_ || !decider_->IsIn(*now)) return nullptr;
  const Node* const node = now->Find(NodeName{parts_.config.name});
  return node != nullptr && node->key == parts_.key.public_key() ? node : nullptr;
}

Slice NodeLoop::ArenaSlice(const std::shared_ptr<Arena>& arena) const {
  return {arena->blob(), arena};
}

Result<int> NodeLoop::Run(const std::stop_token& stop) {
  RETURN_IF_ERROR(Resume());
  UpdateReadiness(parts_.deps.clock.Now());
  while (!exit_) {
    const Instant now = parts_.deps.clock.Now();
    std::optional<LoopEvent> event = mail_.Pop(drains_ ? std::stop_token() : stop, NextWait(now));
    if (event) {
      std::visit([this](auto&& each) { Handle(std::forward<decltype(each)>(each)); },
                 *std::move(event));
    } else if (stop.stop_requested() && !drains_) {
      Stop();
    }
    if (!exit_) Tick(parts_.deps.clock.Now());
  }
  transfer_ = {};
  if (!exit_->ok()) {
    parts_.deps.log.Named("swarm.startSL")
        .Error("Exiting SL. Reason: {}", Printable(std::string(exit_->status().message()), 2000));
  }
  return *exit_;
}

Duration NodeLoop::NextWait(Instant now) const {
  Duration wait = kLookEvery;
  const auto until = [&](const std::optional<Instant>& at) {
    if (at) wait = std::min(wait, std::max(Duration::zero(), *at - now));
  };
  until(next_word_);
  until(failing_until_);
  until(held_again_);
  if (trouble_) until(trouble_->again);
  if (claim_.stored) until(claim_.again);
  if (decider_) until(decider_->wake_at());
  return wait;
}

void NodeLoop::Tick(Instant now) {
  if (failure_) {
    if (!ProgramRuns() || now >= *failing_until_) exit_ = *failure_;
    return;
  }
  ResolveTrouble(now);
  SendClaimAgainIfLost(now);
  PerformHeld(now);
  LookAtTroubles(now);
  SayTroubles(now);
  if (next_word_ && now >= *next_word_) SayWait(now);
  if (decider_ && decider_->wake_at() && now >= *decider_->wake_at())
    Perform(decider_->OnTime(state(), now));
  SendOpenedIfEnrolled();
  const Contract* const at = contract();
  std::optional<Progress> progress =
      decider_ && at != nullptr ? decider_->ProgressNow(at->instance, state(), now) : std::nullopt;
  if (progress) progress->troubles = TroublesToTell();
  parts_.board.SetProgress(std::move(progress), now);
  UpdateReadiness(now);
}

// --- the program ---

void NodeLoop::Handle(BridgeEvent event) {
  if (auto* frame = std::get_if<ProgramFrame>(&event)) return HandleFrame(std::move(*frame));
  const auto& closed = std::get<BridgeClosed>(event);
  bridge_closed_ = true;
  if (!parts_.config.program.empty()) return;  // A child's end says more (Handle(ProgramEnd)).
  if (!program_opened_) {                      // A stranger knocked; go on waiting.
    bridge_closed_ = false;
    return;
  }
  if (failure_) return;  // Tick() goes on.
  if (!HasFinished()) {
    return ProgramFailed(WithCode(
        absl::AbortedError(StrCat("the training program is gone: ", closed.why)), "program-gone"));
  }
  Perform(decider_->OnProgramGone(state(), parts_.deps.clock.Now()));
  StartFetchIfDue();
  LeaveIfOver();
}

void NodeLoop::HandleFrame(ProgramFrame frame) {
  if (const auto* open = std::get_if<OpenFrame>(&frame)) return Open(*open);
  if (const auto* log = std::get_if<LogFrame>(&frame)) {
    program_lines_ = log->lines;
    return;
  }
  if (const auto* goodbye = std::get_if<GoodbyeFrame>(&frame)) {
    program_raised_ = goodbye->reason != "done";
    if (!goodbye->exception.empty()) program_lines_.push_back(goodbye->exception);
    return;
  }
  if (const auto* result = std::get_if<ResultFrame>(&frame)) {
    result_ = *result;
    if (over_) WriteResult();
    static_cast<void>(bridge_->Send({{"type", "ok"}}));
    return;
  }
  // sync and finish were turned into HashedUpdate on the bridge's thread; here they mean that no
  // session is open.
  Fail(WithCode(absl::FailedPreconditionError("the program sent sync or finish before open"),
                "bad-frame"));
}

void NodeLoop::Open(const OpenFrame& frame) {
  if (program_opened_) {
    static_cast<void>(bridge_->Send(ErrorFrame(
        WithNext(WithCode(absl::FailedPreconditionError("this SL has served a program already"),
                          "session-over"),
                 "start the SL again with the program"),
        "starling sl")));
    return;
  }
  Result<Layout> layout = Layout::Make(frame.tensors);
  if (!layout.ok()) return Fail(layout.status());
  const bool resumes = session_ != nullptr && session_->contract == frame.contract;
  if (resumes && session_->stated.schema != layout->schema()) {
    return Fail(WithNext(
        WithCode(absl::FailedPreconditionError("the program's model is not the one that this node "
                                               "takes part with"),
                 "other-model"),
        "start the program of before, or remove home.json to enrol afresh"));
  }
  auto session = std::make_shared<Session>(resumes ? *session_ : Session{});
  session->contract = frame.contract;
  session->weight = frame.weight;
  session->stated = frame.rules;
  session->stated.schema = layout->schema();
  session->stated.size = layout->size();
  session_ = session;
  if (session_->arenas.merged == nullptr) {
    if (Status made = MakeArenas(std::make_shared<const Layout>(*std::move(layout))); !made.ok())
      return Fail(std::move(made));
  }
  program_opened_ = true;
  session_shared_.With([&](auto& shared) { shared = session_; });
  link_->SetNode(StrCat(frame.contract.value(), "/", parts_.config.name));
  parts_.deps.log.Info("program connected: {}, {}, {} tensors, {} bytes, training {}", frame.client,
                       frame.platform, frame.tensors.size(), session_->arenas.layout->size(),
                       frame.contract.value());
  const bool was_over = std::exchange(over_, false);
  const bool goes_on = resumes && decider_ && (!was_over || GoBackForProgram());
  if (!goes_on) MakeDecider({});
  program_waits_ = true;
  next_word_ = parts_.deps.clock.Now() + parts_.config.word_every;
  Perform(decider_->OnOpened(state(), parts_.deps.clock.Now()));
  if (!goes_on && replayed_) Started();
  StartFetchIfDue();  // One that waited for the layout.
}

void NodeLoop::SendOpenedIfEnrolled() {
  if (opened_sent_ || !program_opened_ || OwnNode() == nullptr) return;
  opened_sent_ = true;
  program_waits_ = false;
  next_word_.reset();
  const SharedArenas& arenas = session_->arenas;
  static_cast<void>(bridge_->SendWithFds(
      OpenedFrame(*arenas.layout, arenas.update->arena_bytes(), NodeName{parts_.config.name},
                  session_->contract, contract()->round.value()),
      arenas.update->fd(), arenas.merged->fd()));
}

void NodeLoop::HashAndPost(std::optional<FinishMode> finish, CheckinReport report) {
  const std::shared_ptr<const Session> session =
      session_shared_.With([](const auto& shared) { return shared; });
  CHECK(session != nullptr);
  const ByteSpan blob = session->arenas.update->blob();
  std::future<double> norm = std::async(std::launch::async, [&] {
    return UpdateNorm(*session->arenas.layout, blob,
                      arena_is_base_ ? session->arenas.merged->blob() : ByteSpan());
  });
  auto leaves = std::make_shared<LeafList>(HashLeaves(blob));
  const double moved = norm.get();
  if (std::isfinite(moved)) report.norm = moved;
  Post(HashedUpdate{finish, report,
                    OfferedUpdate{RootOfLeaves(*leaves), {blob, session->arenas.update}, leaves}});
}

void NodeLoop::Handle(const HashedUpdate& hashed) {
  if (answered_over_) {
    static_cast<void>(bridge_->Send(ErrorFrame(
        WithNext(WithCode(absl::FailedPreconditionError("this training is over"), "training-over"),
                 "load the final model and end"),
        "starling sl")));
    return;
  }
  if (program_waits_) {
    return Fail(WithCode(
        absl::FailedPreconditionError("the program sent sync or finish before it had the answer "
                                      "to what it asked before"),
        "bad-frame"));
  }
  synced_ = true;
  program_waits_ = true;
  const Instant now = parts_.deps.clock.Now();
  next_word_ = now + parts_.config.word_every;
  update_ = hashed.update;
  parts_.board.Offer(update_);
  if (hashed.finish) {
    finished_ = true;
    Perform(decider_->OnProgram(ProgramFinish{*hashed.finish, update_->root, hashed.report},
                                state(), now));
  } else {
    Perform(decider_->OnProgram(ProgramSync{update_->root, hashed.report}, state(), now));
  }
  StartFetchIfDue();
}

// --- the SN ---

void NodeLoop::Handle(SnEvent event) {
  if (const auto* news = std::get_if<LedgerNews>(&event)) return OnNews(*news);
  if (const auto* refusal = std::get_if<SnRefusal>(&event)) return OnRefusal(*refusal);
  if (const auto* ignored = std::get_if<SnIgnored>(&event)) {
    parts_.deps.log.Debug("the log ignored a statement of this node: {}", ignored->reason);
    return;  // OnNews tells the decider.
  }
  if (const auto* enrolled = std::get_if<SnEnrolled>(&event)) {
    claim_.stored = enrolled->position;
    claim_.again = parts_.deps.clock.Now() + parts_.config.stall_timeout;
    return TellEnrolled();
  }
  enrol_again_ = true;  // Sign again when the log has grown to what the SN knows.
  if (decider_ && contract() != nullptr && replay_.place().position > claim_.seen) SendEnrolment();
}

// The log is read to its end, for this decider: what an earlier process made is known by it.
void NodeLoop::Started() {
  FindAttempts();
  Perform(decider_->OnStarted(state(), parts_.deps.clock.Now()));
}

// The decider hears of its enrolment once the log is replayed up to that entry.
void NodeLoop::TellEnrolled() {
  if (!claim_.stored || replay_.place().position < *claim_.stored) return;
  claim_.stored.reset();
  Perform(decider_->OnEnrolled(state(), parts_.deps.clock.Now()));
}

void NodeLoop::OnNews(const LedgerNews& news) {
  std::vector<std::pair<Event, std::string>> own;
  for (const LedgerRecord& record : news.records) {
    const Verdict verdict = replay_.Apply(record.entry);
    if (!verdict.valid())
      parts_.deps.log.Debug("entry {} ({} by {}) ignored: {}", record.position, verdict.type,
                            verdict.author, verdict.reason);
    if (auto said = said_.extract(record.entry); !said.empty())
      own.emplace_back(std::move(said.mapped()), verdict.reason);
    Observe(parts_.deps.clock.Now());
  }
  const Contract* const now = contract();
  if (now != nullptr) parts_.board.SetContract(std::make_shared<const Contract>(*now));
  KeepWhatIsNeeded();
  const bool at_its_end = news.at_end && !std::exchange(replayed_, true);
  if (!decider_) return;
  const Instant at = parts_.deps.clock.Now();
  if (enrol_again_ && now != nullptr) SendEnrolment();
  for (const auto& [event, ignored] : own)
    Perform(decider_->OnOwnEntry(event, ignored, state(), at));
  if (at_its_end) {
    Started();
    if (program_end_) ProgramEnded();
  }
  Perform(decider_->OnLedger(state(), at));
  TellEnrolled();
  if (now != nullptr && decider_->IsIn(*now) && now->phase == Phase::kDone)
    ended_ = parts_.board.contract();
  ResolveTrouble(at);
}

// One readable line a round.
void NodeLoop::Observe(Instant now) {
  const Contract* const it = contract();
  if (it == nullptr) return;
  if (it->phase == Phase::kMerging &&
      (!open_merge_ || open_merge_->round != it->round || open_merge_->attempt != it->attempt))
    open_merge_ = OpenMerge{it->round, it->attempt, LeaderOf(*it), now};
  if (!it->sealed_round || told_round_ == it->sealed_round || !open_merge_ ||
      open_merge_->round != *it->sealed_round)
    return;
  told_round_ = it->sealed_round;
  std::string names;
  for (const Member& member : it->sealed_members)
    StrAppend(&names, names.empty() ? "" : ", ", member.name.value());
  parts_.deps.log.Info("round {}: merged {}; leader {}; model {}; {} ms", told_round_->value(),
                       names, open_merge_->leader.value(), ShortText(*it->base),
                       Millis(now - open_merge_->since));
}

void NodeLoop::OnRefusal(const SnRefusal& refusal) {
  Status why = refusal.why;
  const Instant now = parts_.deps.clock.Now();
  if (auto said = said_.extract(refusal.entry);
      !said.empty() && StableCode(why) != "split-ledger") {
    // The next one is signed on a newer log.
    parts_.deps.log.Info("the SN refused a statement of this node: {}", std::string(why.message()));
    return Perform(decider_->OnOwnEntry(said.mapped(), std::string(why.message()), state(), now));
  }
  if (!refusal.enrol || !decider_ || StableCode(why) == "split-ledger") return Fail(std::move(why));
  const bool again = StableCode(why) == "name-taken" || StableCode(why) == "claim-used";
  if (!again) {
    const std::string difference = SchemaDifference();
    if (!difference.empty()) why = Annotate(why, StrCat("the models differ: ", difference));
    refused_ = Annotate(why, "the SN does not let this node in");
  }
  Perform(decider_->OnEnrolRefused(std::string(why.message()), again, state(), now));
  refused_.reset();  // It did not leave because of it: the log will tell how it stands.
}

// What of the model differs from the training's, in words: a node that is in is asked for its
// header.
std::string NodeLoop::SchemaDifference() const {
  const Contract* const now = contract();
  if (now == nullptr || !now->rules.schema || now->rules.schema == session_->stated.schema)
    return "";
  for (const auto& [name, node] : now->nodes) {
    const Result<Endpoint> peer = MakePuller().EndpointOf(node.blob_url);
    if (!peer.ok()) continue;
    ClientRequest request;
    request.idle_timeout = kHeaderWithin;
    request.target = StrCat("/v1/schema/", RootText(*now->rules.schema));
    const Result<ClientResponse> answer = parts_.peers.Do(*peer, request, {});
    if (!answer.ok() || answer->status != 200) continue;
    const Result<Layout> theirs = Layout::Parse(AsBytes(answer->body));
    if (theirs.ok() && theirs->schema() == *now->rules.schema)
      return Difference(*session_->arenas.layout, *theirs);
  }
  return "";
}

std::uint64_t NodeLoop::NextSeq() {
  const auto last = state().last_seq.find(parts_.key.kid());
  seq_ = std::max(seq_, last == state().last_seq.end() ? 0 : last->second) + 1;
  return seq_;
}

}  // namespace starling
