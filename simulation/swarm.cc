#include "simulation/swarm.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"

namespace starling::sim {
namespace {

const ContractName kContract{"t"};
constexpr Duration kFairBound =
    std::chrono::hours(4);  // far above any sum of intervals and graces drawn below

SigningKey KeyOf(std::uint64_t number) {
  Bytes seed(24);
  AppendU64(number + 1, seed);
  return *SigningKey::FromSeed(seed);
}

// The oracle: M of a close, and the update that a program makes from a model.
Digest MergeOf(const std::optional<Digest>& base, const std::vector<Member>& members) {
  return PartsHash().Add("M").Add(SetHash(base, members)).Finish();
}
Digest UpdateOf(const std::optional<Digest>& base, const NodeName& node, std::uint64_t interval) {
  return PartsHash().Add("U").Add(base.value_or(Digest{})).Add(node.value()).Add(interval).Finish();
}

class Swarm;

// An SL and its program.
class SimNode {
 public:
  SimNode(Swarm& swarm, std::size_t index, std::uint64_t intervals, Duration train,
          FinishMode mode);
  void Start();
  void Deliver();  // one more entry of the log, if there is one
  [[nodiscard]] bool exited() const { return exited_; }
  [[nodiscard]] bool refused() const { return refused_; }
  [[nodiscard]] const std::optional<Digest>& returned() const { return returned_; }
  [[nodiscard]] const NodeName& name() const { return name_; }

 private:
  void Sync();
  void Perform(const std::vector<SlEffect>& effects);
  void Do(const EnrolEffect& effect);
  void Do(const AppendEffect& effect);
  void Do(const MergeEffect& effect);
  void Do(const AbandonEffect& /*effect*/) {}  // Its OnMerged comes and is ignored.
  void Do(const FetchEffect& effect);
  void Do(const AnswerEffect& effect);
  void Do(const AttentionEffect& /*effect*/) {}
  // Nothing here is restarted or probed: SlConfig asks for none of these.
  void Do(const StoreUpdateEffect& /*effect*/) {}
  void Do(const DropUpdateEffect& /*effect*/) {}
  void Do(const RememberEffect& /*effect*/) {}
  void Do(const ProbeEffect& /*effect*/) {}
  void Do(const KeepEffect& effect);
  void Do(const ExitEffect& effect);
  void Arrive(std::function<void()> run);
  [[nodiscard]] Instant Now() const;

  Swarm& swarm_;
  const NodeName name_;
  const SigningKey key_;
  SlDecider decider_;
  Replay replay_;
  std::uint64_t seq_ = 0;
  const std::uint64_t intervals_;
  const Duration train_;
  const FinishMode mode_;
  std::uint64_t trained_ = 0;
  Instant arrival_{};            // of the newest message
  std::optional<Digest> model_;  // what the program holds
  std::optional<Digest> returned_;
  bool exited_ = false;
  bool refused_ = false;
};

class Swarm {
 public:
  Swarm(std::uint64_t seed, Planted planted);
  Outcome Run();

  // An entry reaches the SN; it is stored as it comes.
  void Append(const std::string& entry);
  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }
  [[nodiscard]] Duration Delay() {
    return Duration(static_cast<std::int64_t>(
        world.random.Below(static_cast<std::uint64_t>(weather_.delay_max.count()) + 1)));
  }

  World world;
  std::vector<std::string> log;
  const Planted planted;

 private:
  void Decide();
  void Say(const ContractName& contract, Event event);
  void Check(const Contract& before, const Contract& now);
  [[nodiscard]] std::optional<Digest> TrainedFrom(const Member& member) const;
  [[nodiscard]] const Contract* contract() const;

  Weather weather_;
  const SigningKey key_ = KeyOf(0);
  Replay replay_;
  SnDecider decider_{SnOptions{}};
  std::uint64_t seq_ = 0;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::map<Digest, std::optional<Digest>>
      trained_from_;  // update → the base its program really held
  std::string failure_;
  std::uint64_t ignored_ = 0;

  friend class SimNode;
};

SimNode::SimNode(Swarm& swarm, std::size_t index, std::uint64_t intervals, Duration train,
                 FinishMode mode)
    : swarm_(swarm),
      name_(StrCat("n", index)),
      key_(KeyOf(index + 1)),
      decider_(SlConfig{kContract, name_, key_.public_key()}),
      intervals_(intervals),
      train_(train),
      mode_(mode) {}

Instant SimNode::Now() const { return swarm_.world.clock.Now(); }

void SimNode::Start() {
  Perform(decider_.OnOpened(replay_.state(), Now()));
  Sync();
}

void SimNode::Deliver() {
  const auto next = static_cast<std::size_t>(replay_.place().position.value() + 1);
  if (exited_ || next >= swarm_.log.size()) return;
  static_cast<void>(replay_.Apply(swarm_.log[next]));
  Perform(decider_.OnLedger(replay_.state(), Now()));
}

// The program stands at a sync point with an update trained from its model.
void SimNode::Sync() {
  const Digest update = UpdateOf(model_, name_, trained_);
  swarm_.trained_from_[update] = model_;
  if (trained_ < intervals_) {
    Perform(decider_.OnProgram(ProgramSync{update, {}}, replay_.state(), Now()));
  } else {
    Perform(decider_.OnProgram(ProgramFinish{mode_, update, {}}, replay_.state(), Now()));
  }
}

void SimNode::Perform(const std::vector<SlEffect>& effects) {
  for (const SlEffect& effect : effects) std::visit([this](const auto& each) { Do(each); }, effect);
}

// A node's line to the SN keeps order: a message arrives after its own delay, and not before the
// one sent before it.
void SimNode::Arrive(std::function<void()> run) {
  arrival_ = std::max(arrival_, Now() + swarm_.Delay());
  swarm_.world.After(arrival_ - Now(), std::move(run));
}

void SimNode::Do(const EnrolEffect& /*effect*/) {
  // The SN's dance (seen-too-old) is the API's affair: here the claim is signed when it arrives.
  Arrive([this] {
    NodeClaim claim;
    claim.name = name_;
    claim.key = key_.public_key();
    claim.blob_url = "https://h:1";
    claim.weight = 1 + swarm_.world.random.Below(100);
    claim.rules.size = 1000;
    claim.rules.schema = HashOf(AsBytes("schema"));
    swarm_.Say(kContract,
               NodeEnrolled{SignNodeClaim(key_, {kContract, ++seq_, swarm_.replay_.place(), claim}),
                            "spiffe://t/" + name_.value()});
    // Too late: a node has finished already. The SN says so, and the program ends.
    if (swarm_.contract()->Find(name_) == nullptr) refused_ = exited_ = true;
  });
}

void SimNode::Do(const AppendEffect& effect) {
  const std::string entry = SignStatement(key_, {kContract, ++seq_, replay_.place(), effect.event});
  Arrive([this, entry] { swarm_.Append(entry); });
}

void SimNode::Do(const MergeEffect& effect) {
  Digest root = MergeOf(effect.job.base, effect.job.members);
  if (swarm_.planted == Planted::kWrongVotes) root = PartsHash().Add("wrong").Add(root).Finish();
  swarm_.world.After(swarm_.Delay(), [this, job = effect.job, root] {
    if (!exited_) Perform(decider_.OnMerged(job, root, {}, replay_.state(), Now()));
  });
}

void SimNode::Do(const FetchEffect& effect) {
  swarm_.world.After(swarm_.Delay(), [this, root = effect.root] {
    if (!exited_) Perform(decider_.OnFetched(root, replay_.state(), Now()));
  });
}

void SimNode::Do(const AnswerEffect& effect) {
  const bool stale = swarm_.planted == Planted::kStaleTrainer && name_.value() == "n0" &&
                     effect.round.value() >= 1;
  if (!stale) model_ = effect.root;
  if (effect.over) {
    returned_ = effect.root;
    return;
  }
  ++trained_;
  swarm_.world.After(train_, [this] { Sync(); });
}

void SimNode::Do(const KeepEffect& effect) {
  swarm_.world.After(swarm_.Delay(), [this, root = effect.root] {
    if (!exited_) Perform(decider_.OnKept(root, replay_.state(), Now()));
  });
}

void SimNode::Do(const ExitEffect& effect) {
  exited_ = true;
  swarm_.world.Trace(StrCat(name_.value(), " ", effect.summary));
  if (!effect.good) swarm_.Fail(StrCat(name_.value(), " left: ", effect.summary));
}

// One seed draws the weather, then everything.
Swarm::Swarm(std::uint64_t seed, Planted p) : world(seed), planted(p) {
  Random& random = world.random;
  weather_.nodes = 1 + random.Below(7);
  weather_.intervals = 1 + random.Below(8);
  weather_.delay_max = random.Chance(300'000)
                           ? Duration::zero()
                           : Duration(1ms) * static_cast<std::int64_t>(1 + random.Below(500));
  weather_.start_max = Duration(1s) * static_cast<std::int64_t>(random.Below(20));
  weather_.train_max = Duration(1s) * static_cast<std::int64_t>(1 + random.Below(100));
  weather_.late_per_million = random.Chance(500'000) ? 0 : 300'000;
  for (std::size_t i = 0; i < weather_.nodes; ++i) {
    // The first node stays to the end, so that a late one finds a training.
    const std::uint64_t intervals = weather_.intervals + (i == 0 ? 3 : random.Below(3));
    const auto train =
        Duration(1ms) * static_cast<std::int64_t>(1 + random.Below(static_cast<std::uint64_t>(
                                                          Millis(weather_.train_max))));
    nodes_.push_back(std::make_unique<SimNode>(*this, i, intervals, train,
                                               static_cast<FinishMode>(random.Below(3))));
  }
}

const Contract* Swarm::contract() const {
  const auto it = replay_.state().contracts.find(kContract);
  return it == replay_.state().contracts.end() ? nullptr : &it->second;
}

void Swarm::Say(const ContractName& name, Event event) {
  Append(SignStatement(key_, {name, ++seq_, replay_.place(), std::move(event)}));
}

void Swarm::Append(const std::string& entry) {
  const Contract before = contract() != nullptr ? *contract() : Contract{};
  const Verdict verdict = replay_.Apply(entry);
  log.push_back(entry);
  world.Trace(StrCat(verdict.type, " ", verdict.author, " ", verdict.reason));
  if (!verdict.valid()) ++ignored_;
  if (contract() != nullptr) Check(before, *contract());
  for (const auto& node : nodes_) world.After(Delay(), [&node] { node->Deliver(); });
  world.After(Delay(), [this] { Decide(); });
}

void Swarm::Decide() {
  const SnTodo todo = decider_.Decide(replay_.state(), world.clock.Now());
  for (const SnTodo::Append& append : todo.appends) Say(append.contract, append.event);
  if (todo.wake_at && contract() != nullptr && contract()->phase != Phase::kDone) {
    world.After(std::max(Duration(1ms), *todo.wake_at - world.clock.Now()), [this] { Decide(); });
  }
}

// Assertions 1 to 4 of docs/protocol.md, after every entry.
// The model that the program of a counted update really held; a digest of nothing when the update
// is unknown.
std::optional<Digest> Swarm::TrainedFrom(const Member& member) const {
  const auto it = trained_from_.find(member.update.value_or(Digest{}));
  return it == trained_from_.end() ? std::optional<Digest>(HashOf({})) : it->second;
}

void Swarm::Check(const Contract& before, const Contract& now) {
  if (before.instance == now.instance) {
    for (const auto& [round, root] : before.roots) {
      const auto still = now.roots.find(round);
      if (still == now.roots.end() || still->second != root)
        Fail(StrCat("round ", round.value(), " has two roots"));
    }
    if (before.phase == Phase::kMerging && now.phase == Phase::kMerging &&
        before.attempt == now.attempt && before.members != now.members)
      Fail("P changed after its close");
  }
  if (before.phase != Phase::kMerging && now.phase == Phase::kMerging) {
    if (now.members.size() < now.rules.min_peers.value_or(1)) Fail("closed below the quorum");
    for (const Member& member : now.members) {
      if (member.kind == NodeKind::kTrainer && TrainedFrom(member) != now.base)
        Fail(StrCat(member.name.value(), " counts, but was not trained from the base"));
    }
  }
  if (now.sealed_round && now.sealed_round != before.sealed_round) {
    if (now.base != std::optional<Digest>(MergeOf(before.base, now.sealed_members)))
      Fail(StrCat("round ", now.sealed_round->value(), " is not the merge of its set"));
  }
}

Outcome Swarm::Run() {
  Say(ContractName{""},
      SnJoined{SignSnClaim(key_, {NodeName{"sn"}, key_.public_key(), "https://h:1"}, 0, {}),
               1,
               "embedded",
               {}});
  starling::Rules rules;
  rules.initial = InitialMerge{};
  rules.min_peers = 1;
  rules.witnesses = 1 + world.random.Below(3);
  Say(kContract, ContractCreated{rules, {"", "spiffe://t/operator"}});
  for (const auto& node : nodes_) {
    const bool late = node != nodes_.front() && world.random.Chance(weather_.late_per_million);
    const auto within = static_cast<std::uint64_t>(
                            Millis(late ? Duration(weather_.train_max) : weather_.start_max)) +
                        1;
    world.After(Duration(1ms) * static_cast<std::int64_t>(world.random.Below(within)),
                [&node] { node->Start(); });
  }
  const auto all_exited = [this] {
    return !failure_.empty() || std::all_of(nodes_.begin(), nodes_.end(),
                                            [](const auto& node) { return node->exited(); });
  };
  Outcome outcome;
  outcome.finished = world.RunUntil(all_exited, kFairBound);
  if (!outcome.finished && failure_.empty()) {
    std::string waiting;
    for (const auto& node : nodes_) {
      if (!node->exited()) StrAppend(&waiting, " ", node->name().value());
    }
    Fail(StrCat("no end within the bound; still here:", waiting));
  }
  const Contract last = contract() != nullptr ? *contract() : Contract{};
  for (const auto& node : nodes_) {
    if (failure_.empty() && !node->refused() && node->returned() != last.base)
      Fail(StrCat(node->name().value(), " returned another model than the last one"));
  }
  Replay again;
  for (const std::string& entry : log) static_cast<void>(again.Apply(entry));
  if (again.StateHash() != replay_.StateHash())
    Fail("a second replay of the log gives another state");
  outcome.failure = failure_;
  outcome.rounds = last.roots.size();
  outcome.entries = log.size();
  outcome.ignored = ignored_;
  outcome.virtual_time = world.clock.Now().time_since_epoch();
  outcome.trace = world.trace;
  return outcome;
}

}  // namespace

Outcome RunSeed(std::uint64_t seed, Planted planted) { return Swarm(seed, planted).Run(); }

}  // namespace starling::sim
