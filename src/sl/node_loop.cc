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

constexpr Duration kWordEvery = 5s;  // a waiting program hears for whom it waits
constexpr Duration kIdleWait = 3600s;
constexpr Duration kHeaderWithin = 3s;  // to ask another node for its header, for a message
constexpr int kStopped = 143;           // what a shell says of SIGTERM
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
      keeper_(std::make_unique<Keeper>(parts.store, [this](const KeepJob& job, Status status) {
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

void NodeLoop::Connect(SnLink& link, Bridge& bridge) {
  link_ = &link;
  bridge_ = &bridge;
}

const Contract* NodeLoop::contract() const {
  if (session_ == nullptr) return nullptr;
  const auto it = state().contracts.find(session_->contract);
  return it == state().contracts.end() ? nullptr : &it->second;
}

Slice NodeLoop::ArenaSlice(const std::shared_ptr<Arena>& arena) const {
  return {arena->blob(), arena};
}

Result<int> NodeLoop::Run(const std::stop_token& stop) {
  UpdateReadiness();
  while (!exit_) {
    const Instant now = parts_.deps.clock.Now();
    std::optional<LoopEvent> event = mail_.Pop(stop, NextWait(now));
    if (event) {
      std::visit([this](auto&& each) { Handle(std::forward<decltype(each)>(each)); },
                 *std::move(event));
    } else if (stop.stop_requested()) {
      parts_.deps.log.Info("stopping: this node leaves the training");
      SayAway();
      exit_ = over_ ? 0 : kStopped;
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
  Duration wait = kIdleWait;
  const auto until = [&](const std::optional<Instant>& at) {
    if (at) wait = std::min(wait, std::max(Duration::zero(), *at - now));
  };
  until(next_word_);
  until(failing_until_);
  if (lag_) until(lag_->until);
  if (decider_) until(decider_->wake_at());
  return wait;
}

void NodeLoop::Tick(Instant now) {
  if (failure_) {
    if (!ProgramRuns() || now >= *failing_until_) exit_ = *failure_;
    return;
  }
  ResolveLag(now);
  if (next_word_ && now >= *next_word_) {
    next_word_ = now + kWordEvery;
    std::string text = link_->Trouble();
    if (text.empty() && decider_) text = decider_->WaitingText(state());
    if (!text.empty()) {
      parts_.deps.log.Info("{}", text);
      static_cast<void>(bridge_->Send(WaitingFrame(text)));
    }
  }
  if (decider_ && decider_->wake_at() && now >= *decider_->wake_at())
    Perform(decider_->OnTime(state(), now));
  UpdateReadiness();
}

void NodeLoop::UpdateReadiness() {
  const std::string trouble = link_->Trouble();
  if (trouble.empty())
    parts_.health.SetReady("sn");
  else
    parts_.health.SetWaiting("sn", trouble);
  if (session_ == nullptr)
    parts_.health.SetWaiting("program", "waiting for the training program to open its session");
  else
    parts_.health.SetReady("program");
  const std::string waiting = decider_ && program_waits_ ? decider_->WaitingText(state()) : "";
  parts_.health.SetReady("training", waiting.empty() ? "" : waiting);
}

// --- the program ---

void NodeLoop::Handle(BridgeEvent event) {
  if (auto* frame = std::get_if<ProgramFrame>(&event)) return HandleFrame(std::move(*frame));
  const auto& closed = std::get<BridgeClosed>(event);
  bridge_closed_ = true;
  if (!parts_.config.program.empty()) return;  // A child's end says more (Handle(ProgramEnd)).
  if (session_ == nullptr) {                   // A stranger knocked; go on waiting.
    bridge_closed_ = false;
    return;
  }
  if (failure_) return;  // Tick() goes on.
  if (!finished_) {
    return ProgramFailed(WithCode(
        absl::AbortedError(StrCat("the training program is gone: ", closed.why)), "program-gone"));
  }
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
  if (session_ != nullptr) {
    static_cast<void>(bridge_->Send(ErrorFrame(
        WithNext(WithCode(absl::FailedPreconditionError("this SL has served a program already"),
                          "session-over"),
                 "start the SL again with the program"),
        "starling sl")));
    return;
  }
  Result<Layout> layout = Layout::Make(frame.tensors);
  if (!layout.ok()) return Fail(layout.status());
  auto session = std::make_shared<Session>();
  session->contract = frame.contract;
  session->weight = frame.weight;
  session->stated = frame.rules;
  session->stated.schema = layout->schema();
  session->stated.size = layout->size();
  session->arenas.layout = std::make_shared<const Layout>(*std::move(layout));
  for (std::shared_ptr<Arena>* arena : {&session->arenas.update, &session->arenas.merged}) {
    Result<std::unique_ptr<Arena>> made =
        Arena::Create(session->arenas.layout->size(), parts_.config.arena_dir);
    if (!made.ok()) return Fail(made.status());
    *arena = *std::move(made);
    std::memcpy((*arena)->mutable_blob().data(), session->arenas.layout->header().data(),
                session->arenas.layout->header().size());
  }
  session_ = session;
  session_shared_.With([&](auto& shared) { shared = session_; });
  parts_.server.SetArenas(session->arenas);
  link_->SetNode(StrCat(frame.contract.value(), "/", parts_.config.name));
  parts_.deps.log.Info("program connected: {}, {}, {} tensors, {} bytes, training {}", frame.client,
                       frame.platform, frame.tensors.size(), session->arenas.layout->size(),
                       frame.contract.value());
  SlConfig config{frame.contract, NodeName{parts_.config.name}, parts_.key.public_key()};
  config.linger = parts_.config.linger;
  decider_.emplace(std::move(config));
  program_waits_ = true;
  next_word_ = parts_.deps.clock.Now() + kWordEvery;
  Perform(decider_->OnOpened(state(), parts_.deps.clock.Now()));
  SendOpenedIfEnrolled();
}

void NodeLoop::SendOpenedIfEnrolled() {
  const Contract* const now = contract();
  if (opened_sent_ || now == nullptr) return;
  const Node* const me = now->Find(NodeName{parts_.config.name});
  if (me == nullptr || !(me->key == parts_.key.public_key())) return;
  opened_sent_ = true;
  HoldIfKept(*now);
  program_waits_ = false;
  next_word_.reset();
  const SharedArenas& arenas = session_->arenas;
  static_cast<void>(bridge_->SendWithFds(
      OpenedFrame(*arenas.layout, arenas.update->arena_bytes(), NodeName{parts_.config.name},
                  session_->contract, now->round.value()),
      arenas.update->fd(), arenas.merged->fd()));
}

// A node that brings the newest model along (--initial, or from before a restart) says so: others
// fetch it only from nodes that are known to hold it.
void NodeLoop::HoldIfKept(const Contract& now) {
  const NodeName self{parts_.config.name};
  if (!now.sealed_round || !now.base || now.holders.contains(self) ||
      !parts_.store.FindModel(*now.base))
    return;
  Do(AppendEffect{RoundMerged{*now.sealed_round, AttemptId{0}, Digest{}, *now.base, {}}});
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
  next_word_ = now + kWordEvery;
  update_ = hashed.update;
  parts_.board.Offer(update_);
  const Contract* const open = contract();
  if (parts_.config.keep_updates && open != nullptr) {
    update_keep_ =
        keeper_->Add({true, open->round, update_->root, update_->slice, update_->leaves, false});
  }
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
    return;
  }
  if (const auto* enrolled = std::get_if<SnEnrolled>(&event)) {
    enrolled_at_ = enrolled->position;
    return TellEnrolled();
  }
  enrol_again_ = true;  // Sign again when the log has grown to what the SN knows.
  if (decider_ && contract() != nullptr && replay_.place().position > enrol_seen_) SendEnrolment();
}

// The decider hears of its enrolment once the log is replayed up to that entry.
void NodeLoop::TellEnrolled() {
  if (!enrolled_at_ || replay_.place().position < *enrolled_at_) return;
  enrolled_at_.reset();
  Perform(decider_->OnEnrolled(state(), parts_.deps.clock.Now()));
}

void NodeLoop::OnNews(const LedgerNews& news) {
  for (const LedgerRecord& record : news.records) {
    const Verdict verdict = replay_.Apply(record.entry);
    if (!verdict.valid())
      parts_.deps.log.Debug("entry {} ({} by {}) ignored: {}", record.position, verdict.type,
                            verdict.author, verdict.reason);
    Observe(parts_.deps.clock.Now());
  }
  const Contract* const now = contract();
  if (now != nullptr) parts_.board.SetContract(std::make_shared<const Contract>(*now));
  if (!decider_) return;
  if (enrol_again_ && now != nullptr) SendEnrolment();
  SendOpenedIfEnrolled();
  Perform(decider_->OnLedger(state(), parts_.deps.clock.Now()));
  TellEnrolled();
  ResolveLag(parts_.deps.clock.Now());
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
  if (refusal.enrol) {
    const std::string difference = SchemaDifference();
    if (!difference.empty()) why = Annotate(why, StrCat("the models differ: ", difference));
    why = Annotate(why, "the SN does not let this node in");
  }
  Fail(why);
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

// --- what the workers answer ---

void NodeLoop::Handle(MergeDone done) {
  if (!done.outcome.ok() && absl::IsCancelled(done.outcome.status())) return;  // A newer one runs.
  merging_ = false;
  const Status why = done.outcome.ok() ? done.outcome->audit : done.outcome.status();
  if (why.ok()) return Merged(done.job, *done.outcome);
  if (StableCode(why) == "wrong-merge")
    return Fail(Annotate(why, StrCat("round ", done.job.round.value())));
  lag_ = Lag{done.job, why, std::nullopt, parts_.deps.clock.Now() + parts_.config.stall_timeout};
  if (done.outcome.ok()) lag_->outcome = *std::move(done.outcome);
  ResolveLag(parts_.deps.clock.Now());
}

void NodeLoop::Merged(const MergeJob& job, const MergeOutcome& outcome) {
  arena_root_ = outcome.root;
  arena_leaves_ = outcome.leaves;
  parts_.deps.log.Debug("round {}: model {} is here after {} ms", job.round.value(),
                        ShortText(outcome.root), outcome.report.merge_ms);
  if (fetch_wanted_ == outcome.root) fetch_wanted_.reset();
  Perform(decider_->OnMerged(job, outcome.root, outcome.report, state(), parts_.deps.clock.Now()));
  StartFetchIfDue();
}

// Others stop to serve a round the moment it is sealed, and this node reads of the seal a moment
// later: only a round that stays open makes a failed merge a failure.
void NodeLoop::ResolveLag(Instant now) {
  if (!lag_) return;
  const Contract* const at = contract();
  const bool open = at != nullptr && at->instance == lag_->job.instance &&
                    at->round == lag_->job.round && at->attempt == lag_->job.attempt &&
                    at->phase == Phase::kMerging;
  if (open) {
    if (now >= lag_->until) Fail(Annotate(lag_->why, StrCat("round ", lag_->job.round.value())));
    return;
  }
  const Lag lag = *std::exchange(lag_, std::nullopt);
  if (at != nullptr && lag.outcome) {
    const auto sealed = at->roots.find(lag.job.round);
    if (sealed != at->roots.end() && sealed->second == lag.outcome->root)
      return Merged(lag.job, *lag.outcome);
  }
  parts_.deps.log.Info("round {} was over before this node had it: {}", lag.job.round.value(),
                       std::string(lag.why.message()));
  StartFetchIfDue();
}

void NodeLoop::Handle(FetchDone done) {
  if (!done.leaves.ok()) {
    if (absl::IsCancelled(done.leaves.status())) return;
    return Fail(Annotate(done.leaves.status(), StrCat("fetching model ", ShortText(done.root))));
  }
  arena_root_ = done.root;
  arena_leaves_ = std::make_shared<const LeafList>(*std::move(done.leaves));
  Perform(decider_->OnFetched(done.root, state(), parts_.deps.clock.Now()));
}

void NodeLoop::Handle(const KeepDone& done) {
  if (!done.status.ok())
    return Fail(Annotate(done.status, done.job.update ? "keeping an update" : "keeping a model"));
  if (!done.job.update) Perform(decider_->OnKept(done.job.root, state(), parts_.deps.clock.Now()));
}

}  // namespace starling
