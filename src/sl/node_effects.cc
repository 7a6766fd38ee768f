// What the decider wants done.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/fs.h"
#include "base/text.h"
#include "crypto/json.h"
#include "sl/node_loop.h"

namespace starling {
namespace {

constexpr Duration kFetchPauseFirst = 100ms;
constexpr Duration kFetchPauseMax = 2s;
constexpr Duration kFetchSayEvery = 5s;

}  // namespace

void NodeLoop::Perform(std::vector<SlEffect> effects) {
  for (SlEffect& effect : effects) {
    if (exit_ || failure_) return;
    if (held_again_) {
      held_.push_back(std::move(effect));
      continue;
    }
    std::visit([this](auto&& each) { Do(std::forward<decltype(each)>(each)); }, std::move(effect));
  }
}

void NodeLoop::Do(const EnrolEffect& effect) {
  claim_.instance = effect.instance;
  SendEnrolment();
}

void NodeLoop::SendEnrolment() {
  enrol_again_ = false;
  SignedNodeClaim claim;
  claim.contract = session_->contract;
  claim.seq = NextSeq();
  claim.seen = replay_.place();
  claim.claim.name = NodeName{parts_.config.name};
  claim.claim.key = parts_.key.public_key();
  claim.claim.blob_url = parts_.blob_url;
  claim.claim.weight = session_->weight;
  claim.claim.may_lead = parts_.config.may_lead;
  claim.claim.rules = session_->stated;
  claim.claim.instance = claim_.instance;
  claim_ = Claim{claim_.instance, SignNodeClaim(parts_.key, claim), claim.seen.position, {}, {}};
  link_->SendEnrolment(session_->contract, claim_.text);
}

// The SN has stored the claim, and the log does not get there: it was taken back, or the SN has
// lost its end. The same bytes again.
void NodeLoop::SendClaimAgainIfLost(Instant now) {
  if (!claim_.stored || now < claim_.again) return;
  claim_.stored.reset();
  parts_.deps.log.Info("the log does not reach this node's enrolment; it is sent again");
  link_->SendEnrolment(session_->contract, claim_.text);
}

void NodeLoop::Do(const AppendEffect& effect) {
  Statement statement;
  statement.contract = session_->contract;
  statement.seq = NextSeq();
  statement.seen = replay_.place();
  statement.event = effect.event;
  std::string entry = SignStatement(parts_.key, statement);
  said_.emplace(entry, effect.event);
  link_->SendEntry(std::move(entry));
}

Puller NodeLoop::MakePuller() const {
  return Puller({parts_.peers, parts_.deps.clock, parts_.key, parts_.config.stall_timeout,
                 parts_.config.allow_loopback, [link = link_] { return link->Seen(); }});
}

void NodeLoop::Do(MergeEffect effect) {
  merge_pause_ = Duration::zero();
  fetch_wanted_.reset();
  trouble_.reset();
  StartMerge(std::move(effect.job));
}

void NodeLoop::StartMerge(MergeJob job) {
  if (Status status = EnsureArenas(); !status.ok()) return Fail(std::move(status));
  const bool has_base = job.base && arena_root_ == job.base;
  ClearArena();
  merging_ = true;
  auto own = OwnUpdate(job);
  transfer_ = std::jthread([this, own = std::move(own), job = std::move(job), has_base,
                            session = session_](const std::stop_token& stop) {
    // What the arena holds is about to be overwritten: it must be on the disk first.
    if (!keeper_->WaitForModels(stop)) return;
    const MutableByteSpan arena = session->arenas.merged->mutable_blob();
    const Result<bool> base_here = has_base ? Result<bool>(true) : BringBase(job, arena, stop);
    if (!base_here.ok()) return Post(MergeDone{job, base_here.status()});
    const Puller puller = MakePuller();
    const NodeName self{parts_.config.name};
    const MergeInputs inputs{
        self, *session->arenas.layout, own ? &*own : nullptr, arena, *base_here, parts_.store};
    Result<MergeOutcome> outcome =
        ComputeMerge(job, inputs, puller, parts_.board, parts_.deps.clock, stop);
    Post(MergeDone{job, std::move(outcome)});
  });
}

// A node whose disk has lost the base gets it from those that hold it; an audit reads it from the
// disk. Answers whether it is in the arena now.
Result<bool> NodeLoop::BringBase(const MergeJob& job, MutableByteSpan arena,
                                 const std::stop_token& stop) const {
  if (!job.base || parts_.store.FindModel(*job.base)) return false;
  ASSIGN_OR_RETURN(const LeafList leaves, Fetch(*job.base, arena, stop));
  const RoundId sealed{job.round.value() - 1};
  RETURN_IF_ERROR(parts_.store.KeepModel(sealed, *job.base, arena, leaves, true));
  return true;
}

// Nothing reads or writes the merged arena any more, and nobody counts on what it holds.
void NodeLoop::ClearArena() {
  arena_root_.reset();
  arena_leaves_.reset();
  arena_is_base_ = false;
  transfer_ = {};  // Stops and joins an older transfer.
  parts_.board.ForgetRuns();
}

void NodeLoop::Do(const AbandonEffect& /*effect*/) {
  trouble_.reset();
  if (std::exchange(merging_, false)) ClearArena();
}

void NodeLoop::Do(const FetchEffect& effect) {
  fetch_wanted_ = effect.root;
  StartFetchIfDue();
}

// The fetch writes into the merged arena: not while a merge does, which may bring the same model,
// nor while the program may be reading it.
void NodeLoop::StartFetchIfDue() {
  const bool arena_is_ours = program_waits_ || !opened_sent_ || !ProgramRuns();
  if (!fetch_wanted_ || merging_ || trouble_ || failure_ || !arena_is_ours) return;
  if (Status status = EnsureArenas(); !status.ok()) {
    if (absl::IsNotFound(status) && !program_opened_) return;  // The program brings the layout.
    return Fail(std::move(status));
  }
  const Digest root = *std::exchange(fetch_wanted_, std::nullopt);
  ClearArena();
  transfer_ = std::jthread([this, root, session = session_](const std::stop_token& stop) {
    if (!keeper_->WaitForModels(stop)) return;
    Result<LeafList> leaves = Fetch(root, session->arenas.merged->mutable_blob(), stop);
    Post(FetchDone{root, std::move(leaves)});
  });
}

// From this node's disk, else from a holder, else from anyone; tries until it has it or is stopped.
Result<LeafList> NodeLoop::Fetch(const Digest& root, MutableByteSpan blob,
                                 const std::stop_token& stop) const {
  if (Result<BlobStore::Blob> kept = parts_.store.OpenModel(root);
      kept.ok() && kept->slice.bytes.size() == blob.size()) {
    std::memcpy(blob.data(), kept->slice.bytes.data(), blob.size());
    return std::move(kept->leaves);
  }
  const Puller puller = MakePuller();
  Duration pause = kFetchPauseFirst;
  Instant said = parts_.deps.clock.Now();
  while (!stop.stop_requested()) {
    Result<LeafList> leaves = puller.Model(root, HolderUrls(), blob, stop);
    if (leaves.ok()) return leaves;
    if (parts_.deps.clock.Now() - said >= kFetchSayEvery) {
      said = parts_.deps.clock.Now();
      parts_.deps.log.Info("waiting for model {}: {}", ShortText(root),
                           std::string(leaves.status().message()));
    }
    Mailbox<char> nobody;  // Only the stop can end this wait early.
    static_cast<void>(nobody.Pop(stop, pause));
    pause = std::min(pause * 2, kFetchPauseMax);
  }
  return absl::CancelledError("the fetch was given up");
}

// Whom to ask for the newest model, holders first. Any thread: it reads the board.
std::vector<std::string> NodeLoop::HolderUrls() const {
  const std::shared_ptr<const Contract> now = parts_.board.contract();
  std::vector<std::string> urls;
  if (now == nullptr) return urls;
  for (const bool holds : {true, false}) {
    for (const auto& [name, node] : now->nodes) {
      if (name.value() != parts_.config.name && now->holders.contains(name) == holds)
        urls.push_back(node.blob_url);
    }
  }
  return urls;
}

void NodeLoop::Do(const AnswerEffect& effect) {
  // The update arena goes back to the program.
  if (update_keep_ != 0) keeper_->Release(std::exchange(update_keep_, 0));
  if (!finished_) {
    parts_.board.Offer(std::nullopt);
    update_.reset();
  }
  session_->arenas.merged->SetAttention(false);
  arena_is_base_ = true;
  program_waits_ = false;
  next_word_.reset();
  Json participants = Json::array();
  for (const NodeName& name : effect.participants) participants.push_back(name.value());
  if (!effect.counted && !effect.over)
    parts_.deps.log.Info("round {}: this node's update did not take part", effect.round.value());
  const Contract* const now = contract();
  static_cast<void>(bridge_->Send({{"type", "merged"},
                                   {"round", effect.round.value()},
                                   {"root", RootText(effect.root)},
                                   {"counted", effect.counted},
                                   {"next_interval", now->rules.sync_interval.value_or(0)},
                                   {"over", effect.over},
                                   {"participants", participants},
                                   {"same_on", effect.holders},
                                   {"nodes", effect.nodes}}));
  if (!effect.over) return;
  finished_ = answered_over_ = true;
  next_word_ = parts_.deps.clock.Now() + parts_.config.word_every;  // Others may lack the model.
}

void NodeLoop::Do(const AttentionEffect& /*effect*/) {
  session_->arenas.merged->SetAttention(true);
}

void NodeLoop::Do(const KeepEffect& effect) {
  if (effect.final) parts_.store.Pin(effect.root);
  needed_.Made(effect.root, effect.round);
  KeepWhatIsNeeded();
  static_cast<void>(
      keeper_->Add({false, effect.round, effect.root, ArenaSlice(session_->arenas.merged),
                    arena_leaves_, effect.final}));
}

void NodeLoop::KeepWhatIsNeeded() {
  const Contract* const now = contract();
  if (now == nullptr) return;
  NeededModels::Models models = needed_.At(*now);
  parts_.store.Need(std::move(models.needed));
  for (const Digest& root : models.useless) parts_.store.DropModel(root);
}

void NodeLoop::Do(const StoreUpdateEffect& effect) {
  if (!update_ || update_->root != effect.update) return;
  const Contract* const now = contract();
  // A snapshot is counted on in every round to come, and its program does not train it again.
  update_keep_ =
      keeper_->Add({true, now->round, update_->root, update_->slice, update_->leaves, finished_});
}

void NodeLoop::Do(const DropUpdateEffect& effect) {
  parts_.store.DropUpdate(effect.update, parts_.config.keep_updates);
}

void NodeLoop::Do(const ProbeEffect& effect) {
  const Probe& probe = effect.probe;
  static_cast<void>(probes_->Ask(MakePuller().EndpointOf(probe.url),
                                 {.target = StrCat("/v1/progress/", probe.instance.value())},
                                 [this, id = probe.id](const Result<Json>& answer) {
                                   Post(ProbeDone{id, ProbeAnswerOf(answer)});
                                 }));
}

}  // namespace starling
