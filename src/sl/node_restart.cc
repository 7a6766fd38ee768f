// What outlives a restart of an SL: where it is enrolled, its update, its models.
#include <cstring>
#include <utility>

#include "base/text.h"
#include "sl/home.h"
#include "sl/node_loop.h"

namespace starling {
namespace {

// An SL that dies in the middle of a round needs its update, the base and its predecessor.
constexpr std::size_t kProven = 3;

}  // namespace

// Goes on where it was enrolled, before the program is there: others may wait for its update.
Status NodeLoop::Resume() {
  ASSIGN_OR_RETURN(const std::optional<Home> home, ReadHome(parts_.config.state_dir));
  if (!home) return absl::OkStatus();
  BlobStore::Proven proven = parts_.store.Prove(kProven);
  parts_.deps.log.Info("restarted: training {}, entry {}; {} updates and {} models are whole",
                       home->contract.value(), home->instance.value(), proven.updates.size(),
                       proven.models.size());
  auto session = std::make_shared<Session>();
  session->contract = home->contract;
  session->weight = home->weight;
  session->stated = home->stated;
  session_ = std::move(session);
  resumed_ = true;
  link_->SetNode(StrCat(home->contract.value(), "/", parts_.config.name));
  MakeDecider({home->instance, std::move(proven.updates), std::move(proven.models)});
  return absl::OkStatus();
}

void NodeLoop::MakeDecider(SlMemory memory) {
  SlConfig config{session_->contract, NodeName{parts_.config.name}, parts_.key.public_key()};
  config.linger = parts_.config.linger;
  config.stall_timeout = parts_.config.stall_timeout;
  config.initial = parts_.initial;
  config.durable = config.probe = true;
  decider_.emplace(std::move(config), std::move(memory));
}

// What an earlier process made for the round that is open: it may have voted for it.
void NodeLoop::FindAttempts() {
  const Contract* const now = contract();
  if (now == nullptr) return;
  for (const BlobStore::Kept& kept : parts_.store.Models()) {
    if (kept.round == now->round) needed_.Found(kept.root, kept.round);
  }
  KeepWhatIsNeeded();
}

// This SL was through with its training when its own program, started beside it, was not ready yet:
// it goes on as after a restart, and the program gets the final model. False when another training
// has begun since, which the program takes part in.
bool NodeLoop::GoBackForProgram() {
  const Contract* const now = contract();
  if (now == nullptr || !decider_->IsIn(*now)) return false;
  SlMemory memory;
  memory.instance = now->instance;
  if (parts_.store.FindModel(*now->base)) memory.models.insert(*now->base);
  MakeDecider(std::move(memory));
  Perform(decider_->OnStarted(state(), parts_.deps.clock.Now()));
  return true;
}

Status NodeLoop::MakeArenas(std::shared_ptr<const Layout> layout) {
  auto session = std::make_shared<Session>(*session_);
  session->arenas.layout = std::move(layout);
  const Layout& made = *session->arenas.layout;
  for (std::shared_ptr<Arena>* arena : {&session->arenas.update, &session->arenas.merged}) {
    ASSIGN_OR_RETURN(*arena, Arena::Create(made.size(), parts_.config.arena_dir));
    std::memcpy((*arena)->mutable_blob().data(), made.header().data(), made.header().size());
  }
  session_ = std::move(session);
  parts_.server.SetArenas(session_->arenas);
  return absl::OkStatus();
}

// A merge or a fetch before the program has come back.
Status NodeLoop::EnsureArenas() {
  if (session_->arenas.merged != nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(Layout layout, LayoutOnDisk());
  return MakeArenas(std::make_shared<const Layout>(std::move(layout)));
}

// The layout of the training's models, from one that is here. All of one training have the same.
Result<Layout> NodeLoop::LayoutOnDisk() const {
  const Contract* const now = contract();
  Result<BlobStore::Blob> blob = absl::NotFoundError("no model is kept here");
  if (now != nullptr && now->base) blob = parts_.store.OpenModel(*now->base);
  const Node* const me = now == nullptr ? nullptr : now->Find(NodeName{parts_.config.name});
  if (!blob.ok() && me != nullptr && me->checkin) blob = parts_.store.OpenUpdate(*me->checkin);
  if (!blob.ok() && me != nullptr && me->snapshot) blob = parts_.store.OpenUpdate(*me->snapshot);
  if (!blob.ok() && now != nullptr) {
    const Member* const member = now->FindMember(NodeName{parts_.config.name});
    if (member != nullptr && member->update) blob = parts_.store.OpenUpdate(*member->update);
  }
  if (!blob.ok() && now != nullptr) {
    for (const BlobStore::Kept& kept : parts_.store.Models()) {
      const Digest* const sealed = now->roots.Find(kept.round);
      if (sealed != nullptr && *sealed == kept.root) blob = parts_.store.OpenModel(kept.root);
    }
  }
  RETURN_IF_ERROR(blob.status());
  return Layout::Parse(blob->slice.bytes);
}

// This node's update in the merge: in the arena, or from before a restart.
std::optional<OfferedUpdate> NodeLoop::OwnUpdate(const MergeJob& job) const {
  for (const Member& member : job.members) {
    if (member.name.value() != parts_.config.name || !member.update) continue;
    if (update_ && update_->root == *member.update) return update_;
    Result<BlobStore::Blob> kept = parts_.store.OpenUpdate(*member.update);
    if (!kept.ok()) return update_;
    return OfferedUpdate{*member.update, kept->slice,
                         std::make_shared<const LeafList>(std::move(kept->leaves))};
  }
  return update_;
}

}  // namespace starling
