#include "simulation/transfers.h"

#include <algorithm>

#include "base/text.h"
#include "simulation/checker.h"
#include "simulation/oracle.h"
#include "simulation/sl.h"

namespace starling::simulation {
namespace {

constexpr Duration kGather = 500ms;  // failures that come together are told together
constexpr Duration kPauseOfFetches = 2s;

}  // namespace

void Transfers::Begin(const std::function<void()>& begin) {
  // The arena may hold what is not on the disk yet.
  if (sl_.process_->keeping.empty()) return begin();
  begins_when_kept_ = begin;
}

void Transfers::OnKept() {
  if (!begins_when_kept_ || !sl_.process_->keeping.empty()) return;
  std::exchange(begins_when_kept_, nullptr)();
}

// It is about to be overwritten: nobody counts on what it holds.
void Transfers::ClearArena() {
  sl_.process_->arena.reset();
  sl_.process_->runs.clear();
}

bool Transfers::HasHere(const Digest& root) const { return sl_.Holds(root); }

std::vector<NodeName> Transfers::waiting_for() const {
  std::vector<NodeName> names;
  if (!working_ || sl_.process_->arena) return names;
  for (const auto& [name, pull] : working_->pulls) {
    if (pull->task == task_ && name != sl_.name()) names.push_back(name);
  }
  return names;
}

// --- merging ---

void Transfers::Merge(const MergeJob& job) {
  const std::uint64_t task = ++task_;
  working_ = Working{job, {}, {}, false, std::nullopt};
  Begin([this, task] {
    if (task != task_) return;
    ClearArena();
    if (working_->job.owners.front() == sl_.name()) return Lead();
    Follow();
  });
}

// Every update of P that is not here.
void Transfers::PullUpdates(const std::function<void()>& all) {
  const MergeJob& job = working_->job;
  const Duration patience = scene_.weather.stall_timeout *
                            (std::int64_t{1} << std::min<std::uint64_t>(job.attempt.value(), 10));
  const auto want = [&](const NodeName& source, const Wanted& wanted) {
    auto pull = std::make_shared<Pull>();
    pull->source = source;
    pull->wanted = wanted;
    pull->patience = patience;
    pull->task = task_;
    pull->got = [this, source, all](const Digest&) {
      working_->pulls.erase(source);
      if (working_->pulls.empty()) all();
    };
    pull->fails = [this, source](StallWhy why) { Failed(source, why); };
    working_->pulls[source] = pull;
  };
  for (const Member& member : job.members) {
    const bool own = member.kind == NodeKind::kTrainer || member.kind == NodeKind::kSnapshot;
    if (own && job.kind == MergeKind::kMean &&
        !(member.name == sl_.name() && sl_.Offers(*member.update)))
      want(member.name, {Wanted::What::kUpdate, *member.update, job.set, {}});
  }
  const std::map<NodeName, PullRef> pulls = working_->pulls;
  if (pulls.empty()) return all();
  for (const auto& [name, pull] : pulls) Try(pull);
}

void Transfers::Lead() {
  const std::uint64_t task = task_;
  const MergeJob& job = working_->job;
  PullUpdates([this, task, job] {
    const auto merge = [this, task, job] {
      if (task != task_) return;
      std::vector<Member> members = job.members;
      if (scene_.fault == Fault::kMergesWrongSet && members.size() > 1)
        members.erase(members.begin() + (members.front().name == sl_.name() ? 1 : 0));
      Digest root = OracleMerge(job.kind, job.base, members, sl_.name());
      if (sl_.habits_.lie == Lie::kMergesOther && !sl_.honest_)
        root = PartsHash().Add("another merge").Add(root).Finish();
      Merged(root);
    };
    scene_.network.At(sl_.host_, scene_.world.Between(Duration(1us), scene_.weather.transfer_max),
                      "merges", merge);
  });
}

void Transfers::Follow() {
  const MergeJob& job = working_->job;
  const NodeName owner = job.owners.front();
  auto pull = std::make_shared<Pull>();
  pull->source = owner;
  pull->wanted = {Wanted::What::kRun, {}, job.set, {}};
  pull->patience = scene_.weather.stall_timeout *
                   (std::int64_t{1} << std::min<std::uint64_t>(job.attempt.value(), 10));
  pull->task = task_;
  pull->got = [this, owner](const Digest& root) {
    working_->pulls.erase(owner);
    working_->run = root;
    Audit();
  };
  pull->fails = [this, owner](StallWhy why) { Failed(owner, why); };
  working_->pulls[owner] = pull;
  if (scene_.fault == Fault::kVotesTooEarly)
    return Merged(OracleMerge(job.kind, job.base, job.members, owner));
  Try(pull);
}

// The one chunk that a model has here is the one that is audited.
void Transfers::Audit() {
  const MergeJob job = working_->job;
  if (job.audit == 0) return Merged(*working_->run);
  PullUpdates([this, job] {
    const Digest& run = *working_->run;
    const bool same = run == OracleMerge(job.kind, job.base, job.members, job.owners.front()) ||
                      scene_.fault == Fault::kMergesWrongSet;
    if (same) return Merged(run);
    scene_.statistics.Strike("transfer: an audit finds another root");
    Failed(job.owners.front(), StallWhy::kRoot);
  });
}

void Transfers::Merged(const Digest& root) {
  const MergeJob job = working_->job;
  sl_.process_->arena = root;
  if (job.owners.front() == sl_.name()) sl_.process_->runs[job.set] = root;
  if (scene_.fault == Fault::kVotesTooEarly && job.owners.front() != sl_.name())
    sl_.process_->arena.reset();
  scene_.Tell(
      StrCat(sl_.name().value(), " has merged round ", job.round.value(), ": ", ShortText(root)));
  sl_.Perform(sl_.process_->decider.OnMerged(job, root, {}, sl_.state(), sl_.now()));
}

void Transfers::Failed(const NodeName& source, StallWhy why) {
  working_->failures[source] = why;
  if (std::exchange(working_->telling, true)) return;
  scene_.network.At(sl_.host_, kGather, "tells of stalls", [this, task = task_] {
    if (task != task_) return;
    working_->telling = false;
    std::vector<SourceFailure> failures;
    for (const auto& [name, reason] : std::exchange(working_->failures, {})) {
      scene_.statistics.Strike(StrCat("transfer: a source is ", StallWhyText(reason)));
      scene_.Tell(StrCat(sl_.name().value(), " cannot go on with ", name.value(), ": ",
                         StallWhyText(reason)));
      failures.push_back({name, reason});
    }
    const MergeJob job = working_->job;
    sl_.Perform(sl_.process_->decider.OnStalled(job, failures, sl_.state(), sl_.now()));
  });
}

// --- fetching ---

void Transfers::Fetch(const Digest& root, const std::vector<NodeName>& holders) {
  const std::uint64_t task = ++task_;
  working_.reset();
  Begin([this, task, root, holders] {
    if (task != task_) return;
    ClearArena();
    FetchFrom(root, holders);
  });
}

// From the disk, else from a holder, else from anyone, until it is here.
void Transfers::FetchFrom(const Digest& root, std::vector<NodeName> sources) {
  const auto done = [this, root, task = task_] {
    if (task != task_) return;
    sl_.process_->arena = root;
    sl_.Perform(sl_.process_->decider.OnFetched(root, sl_.state(), sl_.now()));
  };
  if (HasHere(root))
    return scene_.network.At(sl_.host_, scene_.world.Between(Duration(1us), 10ms), "reads", done);
  std::erase(sources, sl_.name());
  if (sources.empty()) {
    std::vector<NodeName> everybody;
    for (const auto& sl : scene_.sls) everybody.push_back(sl->name());
    return scene_.network.At(sl_.host_, kPauseOfFetches, "fetches again",
                             [this, root, everybody, task = task_] {
                               if (task == task_) FetchFrom(root, everybody);
                             });
  }
  const std::size_t chosen = scene_.world.random().Below(sources.size());
  auto pull = std::make_shared<Pull>();
  pull->source = sources[chosen];
  sources.erase(sources.begin() + static_cast<std::ptrdiff_t>(chosen));
  pull->wanted = {Wanted::What::kModel, root, {}, {}};
  pull->patience = scene_.weather.stall_timeout;
  pull->task = task_;
  pull->got = [done](const Digest&) { done(); };
  pull->fails = [this, root, sources, pull_of = std::weak_ptr<Pull>(pull)](StallWhy) {
    if (const PullRef dead = pull_of.lock()) dead->task = 0;  // The next source is tried instead.
    FetchFrom(root, sources);
  };
  Try(pull);
}

}  // namespace starling::simulation
