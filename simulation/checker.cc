#include "simulation/checker.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "protocol/machine.h"
#include "simulation/oracle.h"
#include "simulation/sl.h"

namespace starling::simulation {
namespace {

constexpr std::uint64_t kAgainOneIn = 4;  // entries tried again: each costs a signature

constexpr std::int64_t kEntriesMax = 3000;
constexpr std::size_t kFilesMax = 16;
constexpr std::size_t kPagesMax = 10'000;

std::string RoundText(const Contract& contract) {
  return StrCat("round ", contract.round.value(), " attempt ", contract.attempt.value());
}

}  // namespace

void Checker::Fail(std::string what) {
  if (scene_ != nullptr) scene_->Tell(StrCat("FAILED ", what));
  if (failure_.empty()) failure_ = std::move(what);
}

void Checker::Trained(const Digest& update, const std::optional<Digest>& model) {
  trained_from_[update] = model;
}

// --- every page ---

void Checker::OnPage(const Log& page) {
  const Verdict& verdict = page->verdict;
  scene_->statistics.Entry(verdict);
  if (!verdict.valid() && !IsListed(verdict))
    Fail(StrCat("report: no row for ", verdict.type, " ignored: ", verdict.reason));
  scene_->world.Fold(verdict.type);
  scene_->world.Fold(verdict.author);
  scene_->world.Fold(verdict.reason);
  scene_->Tell(StrCat("  [", page->position(), "] ", verdict.author, " ", verdict.type,
                      verdict.valid() ? "" : StrCat(" ignored: ", verdict.reason)));
  if (scene_->world.random().Below(kAgainOneIn) == 0) Again(page);
  const Contract* const after = page->Find(kTraining);
  const Contract* const before = page->before->Find(kTraining);
  if (after == nullptr) return;
  if (verdict.valid() && verdict.type == "round-closed") Closed(*after);
  if (before != nullptr && before->instance == after->instance) Compare(*page, *before, *after);
}

// 2 and 3, at the close.
void Checker::Closed(const Contract& contract) {
  if (contract.members.size() < contract.rules.min_peers.value_or(1)) {
    Fail(StrCat("quorum: ", RoundText(contract), " closed with ", contract.members.size(),
                " participants"));
  }
  for (const Member& member : contract.members) {
    if (member.update) {
      for (const Member& other : contract.members) due_.emplace(*member.update, other.name);
    }
    if (member.kind != NodeKind::kTrainer) continue;
    const auto known = trained_from_.find(*member.update);
    if (known == trained_from_.end()) continue;  // A forgery; it is another's check.
    if (known->second != contract.base) {
      Fail(StrCat("lineage: ", RoundText(contract), " counts an update of ", member.name.value(),
                  " that was not trained from its base"));
    }
  }
}

void Checker::Compare(const Page& page, const Contract& before, const Contract& after) {
  for (std::uint64_t round = 0; round < before.roots.size(); ++round) {
    const Digest* const now = after.roots.Find(RoundId{round});
    if (now == nullptr || *now != before.roots.at(RoundId{round}))
      Fail(StrCat("one root: round ", round, " has lost its root"));
  }
  const bool sealed = after.roots.size() > before.roots.size();
  if (sealed && before.phase != Phase::kMerging)
    Fail(StrCat("frozen: round ", before.round.value(), " was sealed without a merge"));
  if (sealed && before.phase == Phase::kMerging)
    return Sealed(before, after.roots.at(RoundId{after.roots.size() - 1}));
  if (before.phase == Phase::kDone && after.phase != Phase::kDone)
    Fail("frozen: a training that was done goes on");
  if (before.phase == Phase::kCollecting && after.phase == Phase::kMerging &&
      page.verdict.type != "round-closed")
    Fail(StrCat("frozen: ", RoundText(after), " is being merged, and no entry has closed it"));
  if (before.phase != Phase::kMerging) return;
  if (after.phase == Phase::kMerging) {
    if (before.members != after.members || before.base != after.base || before.set != after.set)
      Fail(StrCat("frozen: the participants of ", RoundText(before), " have changed"));
    return;
  }
  Reopened(before, after);
}

std::uint64_t Checker::LiarsIn(const Contract& merging) const {
  std::uint64_t liars = 0;
  for (const Member& member : merging.members) {
    const Sl* const sl = scene_->Find(member.name);
    liars += sl != nullptr && sl->habits().lie != Lie::kNone ? 1U : 0U;
  }
  return liars;
}

// 4.
void Checker::Sealed(const Contract& merging, const Digest& root) {
  const std::uint64_t needed =
      std::min<std::uint64_t>(scene_->weather.witnesses, merging.members.size());
  if (LiarsIn(merging) >= needed) return;
  if (OracleMerge(merging) != root)
    Fail(StrCat("oracle: ", RoundText(merging), " was sealed with a root that is not its merge"));
}

// 8.
void Checker::Reopened(const Contract& merging, const Contract& after) {
  ++attempts_;
  if (after.attempt.value() != merging.attempt.value() + 1 || after.round != merging.round)
    Fail(StrCat("frozen: ", RoundText(merging), " is open again as ", RoundText(after)));
  for (const Member& member : merging.members) {
    const Node* const node = after.Find(member.name);
    const bool stays = node != nullptr && node->present &&
                       (node->kind != NodeKind::kTrainer || node->checkin == member.update);
    const bool had_left = node == nullptr || !merging.Find(member.name)->present;
    if (stays || had_left || merging.grounds.contains(member.name)) continue;
    Fail(StrCat("grounds: ", member.name.value(), " left ", RoundText(merging),
                ", and nobody had said why"));
  }
}

// 7: an older entry once more.
void Checker::Again(const Log& page) {
  if (page->position() < 1) return;
  const auto back = static_cast<std::int64_t>(scene_->world.random().Below(
      static_cast<std::uint64_t>(std::min<std::int64_t>(page->position(), 40))));
  const Log old = At(page, page->position() - back);
  const Log again = scene_->chronicle.Append(page, old->entry);
  if (again->verdict.valid())
    Fail(StrCat("again: ", old->verdict.type, " of position ", old->position(),
                " counts once more"));
}

// --- what is final ---

void Checker::OnFinal() {
  const Log& now = scene_->home.final();
  if (final_ == nullptr) final_ = scene_->chronicle.blank();
  if (now == final_) return;
  if (!IsPrefix(final_, now)) {
    // Only a copy that was restored may lack what was final; what nobody remembers is no more.
    if (!scene_->may_split) Fail("prefix: what was final has changed");
    sealed_.clear();
    reopened_.clear();
    done_.clear();
    alone_.clear();
    final_ = scene_->chronicle.blank();
  }
  for (const Log& page : PagesAfter(now, final_->position())) FinalPage(page);
  final_ = now;
}

void Checker::FinalPage(const Log& page) {
  const Contract* const after = page->Find(kTraining);
  const Contract* const before = page->before->Find(kTraining);
  if (after == nullptr) return;
  for (std::uint64_t round = 0; round < after->roots.size(); ++round) {
    const Digest& root = after->roots.at(RoundId{round});
    const auto [known, fresh] = sealed_.emplace(RoundKey{after->instance, RoundId{round}}, root);
    if (!fresh && known->second != root)
      Fail(StrCat("one root: round ", round, " was sealed twice"));
  }
  if (after->phase == Phase::kDone) done_[after->instance] = *after->base;
  if (before == nullptr || before->instance != after->instance) return alone_.clear();
  if (page->verdict.valid() && page->verdict.type == "round-reopened") {
    // Only where the quorum holds without the offenders.
    std::uint64_t others = 0;
    for (const Member& member : machine::Closing(*before, {})) {
      const Sl* const sl = scene_->Find(member.name);
      others += sl != nullptr && sl->habits().lie == Lie::kNone ? 1U : 0U;
    }
    std::uint64_t& times = reopened_[{after->instance, after->round}];
    times += others >= before->rules.min_peers.value_or(1) ? 1U : 0U;
    std::uint64_t strikes = 2 * after->nodes.size();
    for (const auto& [kind, count] : scene_->statistics.strikes) strikes += count;
    if (times > strikes)
      Fail(StrCat("reopenings: round ", after->round.value(), " was reopened ", times, " times"));
  }
  SlowTrainer(*before, *after);
}

// Nothing happened for which this node could rightly have been left out.
bool Checker::CalmFor(const NodeName& node) const {
  if (struck_.contains(node) || scene_->Find(node)->habits().lie != Lie::kNone) return false;
  for (const auto& [kind, count] : scene_->statistics.strikes) {
    for (const std::string_view rough :
         {"network", "sn", "sl: stopped", "clock", "operator", "transfer"}) {
      if (std::string_view(kind).starts_with(rough)) return false;
    }
  }
  return true;
}

// 10: who alone still trains is waited for, however long its intervals are.
void Checker::SlowTrainer(const Contract& before, const Contract& after) {
  if (after.roots.size() > before.roots.size()) {
    for (const auto& [name, checkin] : alone_) {
      if (checkin.first != RoundKey{before.instance, before.round} || !CalmFor(name)) continue;
      const Member* const member = before.FindMember(name);
      if (member == nullptr || member->update != checkin.second)
        Fail(StrCat("slow: ", name.value(), " was the only one to train in round ",
                    before.round.value(), ", and was not waited for"));
    }
    alone_.clear();
    // The training must not have gone on without the one that trains.
    for (const auto& [name, node] : before.nodes) {
      if (node.present && node.kind == NodeKind::kTrainer && before.sealed_round &&
          std::none_of(before.members.begin(), before.members.end(),
                       [](const Member& member) { return member.kind == NodeKind::kTrainer; }) &&
          CalmFor(name) && !after.Find(name)->checkin)
        Fail(StrCat("slow: ", name.value(), " still trained when finished nodes ended round ",
                    before.round.value()));
    }
    return;
  }
  std::vector<const Node*> trainers;
  for (const auto& [name, node] : after.nodes) {
    if (node.present && node.kind == NodeKind::kTrainer) trainers.push_back(&node);
  }
  if (trainers.size() == 1 && trainers.front()->checkin && after.phase == Phase::kCollecting &&
      after.someone_finished)
    alone_[trainers.front()->name] = {RoundKey{after.instance, after.round},
                                      *trainers.front()->checkin};
}

// --- nodes and programs ---

void Checker::Replayed(const NodeName& node, const Log& view) {
  if (IsPrefix(view, scene_->home.final()) || IsPrefix(scene_->home.final(), view)) return;
  if (!scene_->may_split) Fail(StrCat("prefix: ", node.value(), " takes another log for final"));
}

void Checker::Returned(const NodeName& node, Position instance, const Digest& model) {
  const auto done = done_.find(instance);
  if (done == done_.end() || done->second != model) {
    Fail(StrCat("return: the program of ", node.value(),
                " returned with a model that is not the final one"));
  }
}

void Checker::Votes(const Sl& sl, const Digest& root) {
  if (!sl.Holds(root))
    Fail(StrCat("holders: ", sl.name().value(), " votes for a model that it has not got"));
  voted_[sl.name()].insert(root);
}

void Checker::AfterCrash(const Sl& sl) {
  struck_.insert(sl.name());
  for (const Digest& root : voted_[sl.name()]) {
    if (!sl.Holds(root)) lost_copies_[root].insert(sl.name());
  }
}

void Checker::Served(const NodeName& server, const NodeName& asker, const Digest& update) {
  if (!due_.contains({update, asker}))
    Fail(StrCat("access: ", server.value(), " gave its update to ", asker.value(),
                ", who takes no part"));
}

bool Checker::MayRefuse(const std::string& why) const {
  // To be late is no fault, nor are the operator's words.
  for (const std::string_view late :
       {"finished already", "the training is over", "the training is done", "earlier instance",
        "revoked", "belongs to", "several nodes share", "is not the one that the training lists"}) {
    if (why.find(late) != std::string::npos) return true;
  }
  return false;
}

void Checker::Left(const NodeName& node, bool good, const std::string& summary) {
  if (good || operator_spoke_ || struck_.contains(node)) return;
  if (MayRefuse(summary)) return;
  Fail(StrCat("exit: ", node.value(), ": ", summary));
}

// --- all nodes ---

void Checker::Look() {
  if (scene_->home.end()->position() > kEntriesMax || scene_->chronicle.pages() > kPagesMax)
    Fail(StrCat("limits: the log has ", scene_->home.end()->position(), " entries, ",
                scene_->chronicle.pages(), " were tried"));
  LookAtHolders();
  for (const auto& sl : scene_->sls) {
    // 12: the models of four rounds and of the attempts of one, a few updates, the instance.
    if (sl->disk().files().size() > kFilesMax)
      Fail(StrCat("limits: ", sl->name().value(), " keeps ", sl->disk().files().size(), " files"));
  }
}

// 5: whoever witnessed the newest root holds it, unless its copy was lost.
void Checker::LookAtHolders() {
  const Contract* const contract = scene_->home.final()->Find(kTraining);
  if (contract == nullptr || !contract->sealed_round || sealed_.empty()) return;
  if (scene_->may_split) return;  // An old copy names models of long ago.
  const std::uint64_t needed =
      std::min<std::uint64_t>(scene_->weather.witnesses, contract->sealed_members.size());
  const auto found = lost_copies_.find(*contract->base);
  const std::uint64_t lost = found == lost_copies_.end() ? 0 : found->second.size();
  if (needed == 0 || scene_->weather.liars() + lost >= needed) return;
  for (const auto& sl : scene_->sls) {
    if (sl->habits().lie == Lie::kNone && sl->Holds(*contract->base)) return;
  }
  Fail(StrCat("holders: the model of round ", contract->sealed_round->value(),
              " is nowhere, after ", lost, " lost copies"));
}

}  // namespace starling::simulation
