#include "simulation/sl.h"

#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "simulation/checker.h"

namespace starling::simulation {
namespace {

constexpr std::size_t kModelsKept = 4;  // beside those that are needed
constexpr std::uint64_t kKeysOfLostDisks = 10'000;
constexpr std::string_view kModel = "model:", kUpdate = "update:", kInstance = "instance";
constexpr std::string_view kNotLetIn = "the SN does not let this node in";
constexpr std::string_view kInitial = "initial";  // the value of a model that stays for ever

std::string File(std::string_view kind, const Digest& root) { return StrCat(kind, HexOf(root)); }

}  // namespace

Sl::Sl(Scene& scene, Host host)
    : scene_(scene),
      host_(host),
      habits_(scene.weather.nodes[host]),
      key_(KeyOf(host)),
      clock_(scene.world, habits_.drift),
      disk_(scene.world, scene.statistics, scene.weather.disk_max),
      program_(scene, host, habits_,
               {[this] { Perform(process_->decider.OnOpened(state(), now())); },
                [this](const ProgramSync& sync) {
                  Perform(process_->decider.OnProgram(sync, state(), now()));
                },
                [this](const ProgramFinish& finish) {
                  Perform(process_->decider.OnProgram(finish, state(), now()));
                }}),
      weight_(habits_.weight) {
  if (host == 0 && scene.initial_root)
    disk_.WriteNow(File(kModel, *scene.initial_root), std::string(kInitial));
}

const Log& Sl::view() const {
  return process_ != nullptr ? process_->view : scene_.chronicle.blank();
}

// --- life ---

SlMemory Sl::ReadDisk() {
  SlMemory memory;
  const std::map<std::string, std::string> files = disk_.files();
  for (const auto& [name, value] : files) {
    if (value == kTorn) {
      disk_.Erase(name);
    } else if (name == kInstance) {
      memory.instance = Position{std::stoll(value)};
    } else if (name.starts_with(kModel)) {
      memory.models.insert(*ParseHexDigest(name.substr(kModel.size())));
    } else {
      memory.updates.insert(*ParseHexDigest(name.substr(kUpdate.size())));
    }
  }
  return memory;
}

void Sl::Start(Duration opens_in) {
  CHECK(process_ == nullptr && !ended_);
  refused_ = false;
  scene_.network.Start(host_);
  SlConfig config;
  config.contract = kTraining;
  config.name = name();
  config.key = key_->public_key();
  config.linger = scene_.weather.linger;
  config.stall_timeout = scene_.weather.stall_timeout;
  if (host_ == 0) config.initial = scene_.initial_root;
  config.durable = true;
  config.probe = true;
  process_ = std::make_unique<Process>(SlDecider(config, ReadDisk()));
  process_->view = scene_.chronicle.blank();
  process_->sn = scene_.world.random().Below(scene_.sns.size());
  process_->transfers = std::make_unique<Transfers>(scene_, *this);
  scene_.Tell(StrCat(name().value(), " starts"));
  Tail();
  ResendUnfinal();
  program_.Start(opens_in);
}

void Sl::Crash(bool machine) {
  program_.End();
  if (process_ == nullptr) return;
  scene_.network.End(host_, machine);
  disk_.Crash();
  // Transfers may be in the middle of a call; what is dead is not called again.
  process_.reset();
  scene_.checker.AfterCrash(*this);
}

void Sl::LoseDisk() {
  CHECK(process_ == nullptr);
  disk_.Lose();
  key_ = KeyOf(kKeysOfLostDisks + 100 * host_ + ++keys_made_);
}

void Sl::ProgramDies() {
  if (process_ == nullptr || program_.returned()) return;
  program_.End();
  Perform(process_->decider.OnProgramGone(state(), now()));
}

void Sl::LeapClock(Duration by) {
  clock_.Leap(by);
  if (process_ == nullptr) return;
  process_->wake_at.reset();
  scene_.network.At(host_, Duration(0), "leaps", [this] { Perform({}); });
}

void Sl::Trouble(Quality quality, Instant until) {
  trouble_ = quality;
  trouble_until_ = until;
}

std::optional<Progress> Sl::ProgressNow(Position instance) const {
  if (process_ == nullptr) return std::nullopt;
  std::optional<Progress> progress = process_->decider.ProgressNow(instance, state(), now());
  if (progress) progress->waiting_for = process_->transfers->waiting_for();
  return progress;
}

std::string Sl::WaitingText() const {
  if (process_ == nullptr) return "does not run";
  return StrCat(process_->decider.WaitingText(state()), " (log ", view()->position(),
                program_.waits() ? ", program waits" : "", ", ", process_->outbox.size(),
                " to send)");
}

// --- what the decider wants done ---

void Sl::Perform(const std::vector<SlEffect>& effects) {
  for (const SlEffect& effect : effects) {
    if (process_ == nullptr) return;  // It has left.
    std::visit([this](const auto& each) { Do(each); }, effect);
  }
  if (process_ != nullptr) WakeLater();
}

void Sl::WakeLater() {
  const std::optional<Instant> at = process_->decider.wake_at();
  if (!at || at == process_->wake_at) return;
  process_->wake_at = at;
  scene_.network.At(host_, clock_.Until(*at), "wakes", [this, number = ++process_->wake_number] {
    if (number != process_->wake_number) return;
    process_->wake_at.reset();
    Perform(process_->decider.OnTime(state(), now()));
  });
}

void Sl::Do(const MergeEffect& effect) {
  scene_.statistics.Effect("sl: merge");
  if (program_.owns_arenas())
    scene_.checker.Fail(StrCat("arenas: ", name().value(), " merges while its program trains"));
  process_->transfers->Merge(effect.job);
}

void Sl::Do(const AbandonEffect& /*effect*/) {
  scene_.statistics.Effect("sl: abandon");
  process_->transfers->Abandon();
}

void Sl::Do(const FetchEffect& effect) {
  scene_.statistics.Effect("sl: fetch");
  if (program_.owns_arenas())
    scene_.checker.Fail(StrCat("arenas: ", name().value(), " fetches while its program trains"));
  process_->transfers->Fetch(effect.root, effect.holders);
}

void Sl::Do(const AnswerEffect& effect) {
  if (process_->arena != effect.root) {
    scene_.checker.Fail(
        StrCat("answer: ", name().value(), " answers with what its arena does not hold"));
  }
  const Contract* const contract = view()->Find(kTraining);
  CHECK(contract != nullptr);
  program_.Answered(effect, contract->instance);
}

void Sl::Do(const AttentionEffect& /*effect*/) { program_.Attention(); }

void Sl::Do(const KeepEffect& effect) {
  if (process_->arena != effect.root) {
    scene_.checker.Fail(StrCat("keep: ", name().value(), " keeps what its arena does not hold"));
  }
  ++process_->keeping[effect.root];  // Read from the arena now; durable later.
  process_->models.Made(effect.root, effect.round);
  KeepWhatIsNeeded();
  Keep(effect);
}

void Sl::Keep(const KeepEffect& kept) {
  const std::string file = File(kModel, kept.root);
  const auto known = disk_.files().find(file);
  const bool initial = known != disk_.files().end() && known->second == kInitial;
  const std::string value =
      initial ? std::string(kInitial) : StrCat(kept.round.value(), "/", ++models_kept_);
  disk_.Write(file, value, [this, kept](bool good) {
    if (!good) return scene_.network.At(host_, 1s, "keeps again", [this, kept] { Keep(kept); });
    if (--process_->keeping[kept.root] == 0) process_->keeping.erase(kept.root);
    Prune();
    process_->transfers->OnKept();
    Perform(process_->decider.OnKept(kept.root, state(), now()));
  });
}

// What an earlier process made for the round that is open: it may have voted for it.
void Sl::FindAttempts() {
  const Contract* const contract = view()->Find(kTraining);
  if (contract == nullptr) return;
  for (const auto& [file, value] : disk_.files()) {
    if (!file.starts_with(kModel) || value == kTorn || value == kInitial) continue;
    const RoundId round{std::stoull(value)};
    if (round == contract->round)
      process_->models.Found(*ParseHexDigest(file.substr(kModel.size())), round);
  }
  KeepWhatIsNeeded();
}

void Sl::KeepWhatIsNeeded() {
  const Contract* const contract = view()->Find(kTraining);
  if (contract == nullptr) return;
  NeededModels::Models models = process_->models.At(*contract);
  process_->needed = std::move(models.needed);
  if (scene_.fault == Fault::kKeepsEverything) return;
  for (const Digest& root : models.useless) disk_.Erase(File(kModel, root));
}

// As src/sl's BlobStore: the models that were kept last stay, and those that are needed.
void Sl::Prune() {
  if (scene_.fault == Fault::kKeepsEverything) return;
  std::map<std::uint64_t, std::string> in_order;
  for (const auto& [file, value] : disk_.files()) {
    if (file.starts_with(kModel) && value != kTorn && value != kInitial)
      in_order.emplace(std::stoull(value.substr(value.find('/') + 1)), file);
  }
  std::size_t too_many = in_order.size() - std::min(in_order.size(), kModelsKept);
  for (const auto& [order, file] : in_order) {
    if (too_many-- == 0) return;
    if (!process_->needed.contains(*ParseHexDigest(file.substr(kModel.size())))) disk_.Erase(file);
  }
}

void Sl::Do(const StoreUpdateEffect& effect) {
  if (program_.update() != effect.update)
    scene_.checker.Fail(StrCat("arenas: ", name().value(), " stores what is not there"));
  disk_.Write(File(kUpdate, effect.update), "good", [this, effect](bool good) {
    if (!good)
      return scene_.network.At(host_, 1s, "stores again", [this, effect] {
        // Another one may stand in the arena by now; then this one needs no storing either.
        if (program_.update() == effect.update) Do(effect);
      });
    Perform(process_->decider.OnUpdateStored(effect.update, state(), now()));
  });
}

void Sl::Do(const DropUpdateEffect& effect) { disk_.Erase(File(kUpdate, effect.update)); }

void Sl::Do(const RememberEffect& effect) {
  if (effect.instance) {
    disk_.WriteNow(std::string(kInstance), StrCat(effect.instance->value()));
  } else {
    disk_.Erase(std::string(kInstance));
  }
}

void Sl::Do(const ProbeEffect& effect) {
  scene_.statistics.Effect("sl: probe");
  Sl* const target = scene_.Find(effect.probe.node);
  CHECK(target != nullptr);
  scene_.network.Ask<std::optional<Progress>>(
      host_, target->host(), "sl probe", kProbeLimit,
      [target, instance = effect.probe.instance](const Respond<std::optional<Progress>>& respond) {
        respond(target->ProgressNow(instance));
      },
      [this, id = effect.probe.id](const Answer<std::optional<Progress>>& answer) {
        ProbeAnswer result;
        if (answer.value) result.progress = *answer.value;
        if (!result.progress) result.why = "no answer";
        Perform(process_->decider.OnProbe(id, result, state(), now()));
      });
}

void Sl::Do(const ExitEffect& effect) {
  scene_.world.Fold(effect.summary);
  scene_.Tell(StrCat(name().value(), " leaves: ", effect.summary));
  const bool returned = program_.returned();
  // A program that was started again and has not opened yet finds the model on the disk.
  if (effect.good && !returned && program_.open())
    scene_.checker.Fail(StrCat("exit: ", name().value(), " leaves a program alone"));
  scene_.checker.Left(name(), effect.good, effect.summary);
  program_.End();
  scene_.network.End(host_, false);
  disk_.Crash();
  const Log read = view();
  scene_.world.After(Duration(0), "gone",
                     [this, process = std::shared_ptr<Process>(std::move(process_))] {});
  ended_ = effect.good || returned || (refused_ && effect.summary.starts_with(kNotLetIn));
  // Who was revoked comes back as somebody else, if at all.
  if (effect.summary.find("revoked") != std::string::npos) {
    if (Revoked(read)) {
      LoseDisk();
    } else {
      scene_.checker.Fail(StrCat("exit: ", name().value(), " was not revoked"));
    }
  }
  scene_.checker.AfterCrash(*this);
  if (!ended_) StartAgain();
}

// As it has read it, or as an SN has: a sentinel that was restored from an old copy may not know.
bool Sl::Revoked(const Log& read) const {
  const auto says = [this](const Log& log) {
    const Contract* const contract = log->Find(kTraining);
    return contract != nullptr && contract->revoked_kids.contains(key_->kid());
  };
  return says(read) || std::any_of(scene_.sns.begin(), scene_.sns.end(),
                                   [&](const auto& sn) { return says(sn->end()); });
}

// Who runs the node starts it again; after a reset or a revocation it is a new one.
void Sl::StartAgain() {
  scene_.world.After(scene_.world.Between(Duration(1s), 10s), "starts again", [this] {
    if (process_ == nullptr && !ended_) Start(1s);
  });
}

bool Sl::Holds(const Digest& root) const {
  const auto file = disk_.files().find(File(kModel, root));
  if (file != disk_.files().end() && file->second != kTorn) return true;
  return process_ != nullptr && (process_->arena == root || process_->keeping.contains(root));
}

bool Sl::Offers(const Digest& update) const {
  const auto file = disk_.files().find(File(kUpdate, update));
  if (file != disk_.files().end() && file->second != kTorn) return true;
  return process_ != nullptr && program_.waits() && program_.update() == update;
}

}  // namespace starling::simulation
