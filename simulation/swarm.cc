#include "simulation/swarm.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "protocol/machine.h"
#include "simulation/checker.h"
#include "simulation/sl.h"
#include "simulation/sn.h"
#include "simulation/storm.h"

namespace starling::simulation {
namespace {

constexpr std::uint64_t kEventsMax = 3'000'000;
constexpr std::uint64_t kOperatorKeys = 2000;
constexpr std::uint64_t kLookEvery = 8;  // events

class Swarm {
 public:
  Swarm(std::uint64_t seed, Fault fault, const Story* story, const Listener& listener);
  Outcome Run();

 private:
  void Begin();
  [[nodiscard]] bool AllEnded() const;
  [[nodiscard]] bool LeftBehind(const Sl& late) const;
  [[nodiscard]] bool Split() const;
  [[nodiscard]] Duration Bound() const;
  void RunUntil();
  void HelpQuorum();
  void CheckProgress(Duration bound);
  [[nodiscard]] bool NobodyCounts() const;

  World world_;
  Statistics statistics_;
  const Story* const story_;
  const Weather weather_;
  Checker checker_;
  Chronicle chronicle_;
  Network network_;
  Home home_;
  Scene scene_;
  Storm storm_{scene_};
  Instant until_{};  // the end of this phase
};

Swarm::Swarm(std::uint64_t seed, Fault fault, const Story* story, const Listener& listener)
    : world_(seed),
      story_(story),
      weather_(story != nullptr ? story->weather : DrawWeather(world_)),
      chronicle_(fault),
      network_(world_, statistics_, weather_.nodes.size() + weather_.sn_drifts.size()),
      home_(world_, chronicle_, statistics_, weather_.finality),
      scene_{world_, statistics_, network_, chronicle_, home_, checker_, weather_, fault} {
  world_.Listen(listener);
  checker_.Watch(scene_);
  network_.set_weather(weather_.network);
  if (weather_.starts_from_root) {
    scene_.initial_root = PartsHash().Add("initial model").Finish();
  }
  if (weather_.lists_operators) {
    scene_.operators.push_back(KeyOf(kOperatorKeys));
    scene_.operators.push_back(KeyOf(kOperatorKeys + 1));
  }
  for (Host host = 0; host < weather_.nodes.size(); ++host)
    scene_.sls.push_back(std::make_unique<Sl>(scene_, host));
  for (std::size_t i = 0; i < weather_.sn_drifts.size(); ++i)
    scene_.sns.push_back(std::make_unique<Sn>(scene_, weather_.nodes.size() + i, i));
}

// Whoever comes when all have lingered long enough and left needs somebody's `sl --serve`.
bool Swarm::LeftBehind(const Sl& late) const {
  const Contract* const contract = home_.final()->Find(kTraining);
  if (contract == nullptr || contract->phase != Phase::kDone || late.Holds(*contract->base))
    return false;
  return std::all_of(scene_.sls.begin(), scene_.sls.end(), [&](const auto& sl) {
    return sl->ended() || sl.get() == &late || !sl->Holds(*contract->base);
  });
}

bool Swarm::AllEnded() const {
  return std::all_of(scene_.sls.begin(), scene_.sls.end(),
                     [this](const auto& sl) { return sl->ended() || LeftBehind(*sl); });
}

bool Swarm::Split() const {
  return std::any_of(scene_.sls.begin(), scene_.sls.end(),
                     [](const auto& sl) { return !sl->split().empty(); }) ||
         std::any_of(scene_.sns.begin(), scene_.sns.end(),
                     [](const auto& sn) { return !sn->split().empty(); });
}

void Swarm::Begin() {
  home_.Watch(
      [this] {
        checker_.OnFinal();
        for (const auto& sn : scene_.sns) sn->OnHome();
      },
      [this](const Log& page) { checker_.OnPage(page); });
  scene_.sns.front()->Found(!weather_.auto_create);
  for (const auto& sn : scene_.sns) sn->Start();
  for (const auto& sl : scene_.sls) sl->Start(sl->habits().opens_at);
  storm_.Begin();
  if (story_ == nullptr) return;
  for (const Story::Beat& beat : story_->beats)
    world_.After(beat.at, "beat", [this, beat] { storm_.Bring(beat.strike); });
}

void Swarm::RunUntil() {
  std::uint64_t looked = 0;
  while (checker_.ok() && !AllEnded() && world_.Now() < until_ && world_.events() < kEventsMax) {
    if (!world_.RunOne()) break;
    if (world_.events() >= looked + kLookEvery) {
      looked = world_.events();
      checker_.Look();
      if (Split()) return;
    }
  }
}

Duration Swarm::Bound() const {
  const Contract* const contract = home_.end()->Find(kTraining);
  BoundInput input;
  input.rounds_left = 3;
  for (const auto& sl : scene_.sls) {
    // After a reset all count from the beginning.
    const bool again = statistics_.strikes.contains("operator: resets after a loss") ||
                       statistics_.strikes.contains("operator: resets");
    input.rounds_left += (again ? sl->habits().rounds : sl->program().rounds_left()) + 1;
    input.interval = std::max(input.interval, sl->habits().interval);
  }
  input.attempt = contract == nullptr ? 0 : std::min<std::uint64_t>(contract->attempt.value(), 10);
  input.attempts_left = 2 + 2 * weather_.liars();
  input.grace = weather_.grace;
  input.stall_timeout = weather_.stall_timeout;
  input.sns = scene_.sns.size();
  input.transfer = 4 * weather_.transfer_max + 2 * weather_.disk_max + 3 * weather_.finality +
                   20 * weather_.network.latency_max;
  // Beside the rounds: a restart with its enrolment, opening, lingering.
  Duration opens{};
  for (const auto& sl : scene_.sls) opens = std::max(opens, sl->habits().opens_at);
  return FairBound(input) + opens + weather_.linger + 120s;
}

// In a swarm that has lost nodes for good, an operator lowers the quorum; where all of them or the
// model are lost, the training is begun anew. A finished node that is away is lost, too: nothing
// makes it check in again. So is one that has left with its final model, when a restored ledger has
// forgotten that end.
void Swarm::HelpQuorum() {
  if (AllEnded() || !checker_.ok()) return;
  storm_.BoundLiars();
  const Contract* const contract = home_.final()->Find(kTraining);
  std::uint64_t usable = 0;
  bool lost = false;
  for (const auto& sl : scene_.sls) {
    const Node* const node = contract == nullptr ? nullptr : contract->Find(sl->name());
    const bool away = node != nullptr && !node->present && node->kind != NodeKind::kTrainer;
    const bool gone = away || sl->ended();
    lost = lost || gone || sl->refused();
    usable += gone || sl->refused() ? 0U : 1U;
  }
  const bool amended = statistics_.strikes.contains("operator: amends");
  if ((lost || amended) && usable > 0 && contract != nullptr &&
      contract->phase == Phase::kCollecting && contract->rules.min_peers.value_or(1) > usable)
    storm_.Amend(usable);
  const auto has_model = [&](const auto& sl) {
    return !sl->refused() && sl->Holds(*contract->base);
  };
  const bool going_on = contract != nullptr && contract->phase != Phase::kDone;
  const bool nowhere = going_on && contract->base && std::ranges::none_of(scene_.sls, has_model);
  if (nowhere || (going_on && usable == 0 && contract->phase == Phase::kCollecting)) {
    storm_.Reset();
    until_ = world_.Now() + Bound();
  }
  world_.After(60s, "operator looks", [this] { HelpQuorum(); });
}

Outcome Swarm::Run() {
  Begin();
  const Instant start = world_.Now();
  until_ = start + weather_.foul;
  RunUntil();
  Outcome outcome;
  if (checker_.ok() && !AllEnded() && !Split()) {
    storm_.Heal();
    outcome.bound = Bound();
    until_ = world_.Now() + outcome.bound;
    HelpQuorum();
    RunUntil();
    if (checker_.ok() && !AllEnded() && !Split()) CheckProgress(outcome.bound);
  }
  if (checker_.ok() && !Split()) checker_.LookBack();
  outcome.failure = checker_.failure();
  outcome.trace = world_.trace();
  outcome.events = world_.events();
  outcome.entries = static_cast<std::uint64_t>(home_.end()->position() + 1);
  outcome.rounds = checker_.rounds();
  outcome.attempts = checker_.attempts();
  outcome.split = Split();
  outcome.lasted = world_.Now() - start;
  for (const auto& sl : scene_.sls) outcome.refused += sl->refused() ? 1U : 0U;
  outcome.statistics = statistics_;
  return outcome;
}

// Whoever is left has weight 0 and there is no model yet: only somebody else can go on.
bool Swarm::NobodyCounts() const {
  const Contract* const contract = home_.end()->Find(kTraining);
  if (contract == nullptr || contract->base) return false;
  const std::vector<Member> ready = machine::Closing(*contract, {});
  return !ready.empty() && std::all_of(ready.begin(), ready.end(),
                                       [](const Member& member) { return member.weight == 0; });
}

void Swarm::CheckProgress(Duration bound) {
  if (NobodyCounts()) return;
  std::string who;
  for (const auto& sl : scene_.sls) {
    if (!sl->ended()) StrAppend(&who, "; ", sl->name().value(), ": ", sl->WaitingText());
  }
  for (const auto& sn : scene_.sns)
    StrAppend(&who, "; ", sn->name().value(), " (log ", sn->end()->position(),
              "): ", sn->WaitingText());
  checker_.Fail(StrCat("progress: not all have ended within ", Millis(bound) / 1000, " s", who));
}

}  // namespace

Duration FairBound(const BoundInput& input) {
  Duration bound{};
  for (std::uint64_t round = 0; round < input.rounds_left; ++round) {
    const std::uint64_t first = round == 0 ? input.attempt : 0;
    for (std::uint64_t a = first; a <= first + input.attempts_left; ++a) {
      const auto doubled = static_cast<Duration::rep>(std::uint64_t{1} << a);
      bound += input.grace * doubled + input.stall_timeout * doubled +
               2s * static_cast<Duration::rep>(input.sns) + input.transfer;
    }
    bound += 2 * input.interval;
  }
  return bound;
}

Outcome RunSwarm(std::uint64_t seed, Fault fault, const Listener& listener) {
  return std::make_unique<Swarm>(seed, fault, nullptr, listener)->Run();
}

Outcome Tell(const Story& story, const Listener& listener) {
  return std::make_unique<Swarm>(story.seed, story.fault, &story, listener)->Run();
}

}  // namespace starling::simulation
