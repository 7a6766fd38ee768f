// One pull of an SL: requests, bodies, and when it counts as a stall.
#include <algorithm>

#include "base/check.h"
#include "base/text.h"
#include "simulation/checker.h"
#include "simulation/sl.h"
#include "simulation/transfers.h"

namespace starling::simulation {
namespace {

constexpr Duration kAgain = 200ms;
constexpr Duration kStep = 1s;

}  // namespace

void Transfers::Again(const PullRef& pull, Duration pause) {
  scene_.network.At(sl_.host_, pause, "pulls again", [this, pull] { Try(pull); });
}

void Transfers::Try(const PullRef& pull) {
  if (pull->task != task_) return;
  Sl* const source = scene_.Find(pull->source);
  CHECK(source != nullptr);
  pull->wanted.seen = sl_.view()->place().position;
  scene_.network.Ask<Offer>(
      sl_.host_, source->host(), "pull", pull->patience,
      [source, wanted = pull->wanted, asker = sl_.name()](const Respond<Offer>& respond) {
        respond(source->Serve(wanted, asker));
      },
      [this, pull](const Answer<Offer>& answer) {
        if (pull->task == task_) OnOffer(pull, answer);
      });
}

void Transfers::OnOffer(const PullRef& pull, const Answer<Offer>& answer) {
  if (answer.fate == Fate::kRefused) return Refused(pull);
  if (answer.fate == Fate::kSilent) return Silent(pull, pull->patience);
  switch (answer.value->code) {
    case Offer::Code::kRefused:
      return Refused(pull);
    case Offer::Code::kNotYet:
      pull->refusals = 0;
      return Silent(pull, kAgain);
    case Offer::Code::kBytes:
      pull->silent = Duration(0);
      return Body(pull, *answer.value, scene_.network.life(scene_.Find(pull->source)->host()));
  }
}

// The bytes come step by step, while the source runs and the link is whole.
void Transfers::Body(const PullRef& pull, const Offer& offer, std::uint64_t life) {
  const Host source = scene_.Find(pull->source)->host();
  if (offer.quality == Quality::kStalls || offer.quality == Quality::kTrickles) {
    scene_.statistics.Strike(offer.quality == Quality::kStalls ? "transfer: stalls"
                                                               : "transfer: trickles");
    return scene_.network.At(sl_.host_, pull->patience, "silence", [this, pull] {
      if (pull->task == task_) Silent(pull, pull->patience);
    });
  }
  const Duration rest = offer.takes - pull->done;
  const Duration step = std::min(kStep, std::max(rest, Duration(1us)));
  scene_.network.At(sl_.host_, step, "bytes", [this, pull, offer, life, source, step] {
    if (pull->task != task_) return;
    if (!scene_.network.up(source) || scene_.network.life(source) != life) return Refused(pull);
    if (scene_.network.stopped(source) || scene_.network.IsCut(source, sl_.host_)) {
      pull->silent += step;
      if (pull->silent >= pull->patience) return Silent(pull, Duration(0));
      return Body(pull, offer, life);
    }
    pull->silent = Duration(0);
    pull->done += step;
    if (offer.quality == Quality::kBreaksOff) {
      scene_.statistics.Strike("transfer: breaks off");
      return Refused(pull);
    }
    if (pull->done < offer.takes) return Body(pull, offer, life);
    if (offer.quality == Quality::kWrong) {
      scene_.statistics.Strike("transfer: wrong bytes");
      pull->done = Duration(0);
      pull->fails(StallWhy::kWrongBytes);
      return Again(pull, pull->patience);
    }
    pull->refusals = 0;
    pull->got(offer.root);
  });
}

// Once may be chance; twice in a row is a stall. It goes on trying: it may come back.
void Transfers::Refused(const PullRef& pull) {
  if (++pull->refusals == 2) {
    pull->refusals = 0;
    pull->fails(StallWhy::kRefused);
    return Again(pull, pull->patience);
  }
  Again(pull, kAgain);
}

void Transfers::Silent(const PullRef& pull, Duration span) {
  pull->silent += span;
  if (pull->silent < pull->patience) return Again(pull, kAgain);
  pull->silent = Duration(0);
  // Who makes the run may wait for somebody else.
  if (pull->wanted.what == Wanted::What::kRun) return AskProgress(pull);
  pull->fails(StallWhy::kSilent);
  Again(pull, kAgain);
}

void Transfers::AskProgress(const PullRef& pull) {
  const MergeJob& job = working_->job;
  const auto ask = [this, instance = job.instance](const NodeName& node, auto then) {
    Sl* const target = scene_.Find(node);
    scene_.network.Ask<std::optional<Progress>>(
        sl_.host_, target->host(), "progress", kProbeLimit,
        [target, instance](const Respond<std::optional<Progress>>& respond) {
          respond(target->ProgressNow(instance));
        },
        [then](const Answer<std::optional<Progress>>& answer) {
          then(answer.value ? *answer.value : std::nullopt);
        });
  };
  ++pull->rounds_of_silence;
  Again(pull, kAgain);
  ask(pull->source, [this, pull, ask](const std::optional<Progress>& progress) {
    if (pull->task != task_) return;
    if (!progress || progress->waiting_for.empty() || pull->rounds_of_silence > 3)
      return pull->fails(StallWhy::kSilent);
    for (const NodeName& other : progress->waiting_for) {
      if (other == sl_.name()) continue;
      ask(other, [this, pull, other](const std::optional<Progress>& direct) {
        if (pull->task == task_ && !direct) Failed(other, StallWhy::kSilent);
      });
    }
  });
}

// --- serving ---

Offer Sl::Serve(const Wanted& wanted, const NodeName& asker) {
  const Contract* const contract = view()->Find(kTraining);
  Offer offer;
  if (wanted.seen > view()->place().position || contract == nullptr) {
    offer.code = Offer::Code::kNotYet;  // It reads the log on before it judges.
    return offer;
  }
  const bool member = contract->FindMember(asker) != nullptr;
  switch (wanted.what) {
    case Wanted::What::kUpdate: {
      const Member* const own = contract->FindMember(name());
      const bool due = member && own != nullptr && own->update == wanted.root;
      if (!due && scene_.fault != Fault::kServesAnybody) return offer;
      if (!Offers(wanted.root)) return offer;
      scene_.checker.Served(name(), asker, wanted.root);
      offer.root = wanted.root;
      break;
    }
    case Wanted::What::kRun: {
      if (!member) return offer;
      const auto run = process_->runs.find(wanted.set);
      if (run == process_->runs.end()) {
        offer.code = Offer::Code::kNotYet;
        return offer;
      }
      offer.root = run->second;
      break;
    }
    case Wanted::What::kModel:
      if (contract->Find(asker) == nullptr || !Holds(wanted.root)) return offer;
      offer.root = wanted.root;
      break;
  }
  offer.code = Offer::Code::kBytes;
  offer.takes = scene_.world.Between(Duration(1us), scene_.weather.transfer_max);
  if (!honest_) {
    if (habits_.lie == Lie::kWrongBytes) offer.quality = Quality::kWrong;
    if (habits_.lie == Lie::kBreaksOff) offer.quality = Quality::kBreaksOff;
    if (habits_.lie == Lie::kTrickles) offer.quality = Quality::kTrickles;
  }
  if (scene_.world.Now() < trouble_until_) offer.quality = trouble_;
  return offer;
}

}  // namespace starling::simulation
