#include "simulation/storm.h"

#include <algorithm>
#include <concepts>

#include "base/text.h"
#include "simulation/checker.h"
#include "simulation/sl.h"
#include "simulation/sn.h"

namespace starling::simulation {

void Storm::Begin() {
  if (scene_.weather.foul == Duration(0)) return;
  scene_.foul = true;
  for (std::size_t i = 0; i < kStrikeCount; ++i) {
    if (scene_.weather.every[i] > Duration(0)) Later(static_cast<Strike>(i));
  }
}

void Storm::Later(Strike strike) {
  const Duration in = scene_.world.Between(Duration(1us), 2 * scene_.weather.every_of(strike));
  scene_.world.After(in, "strikes", [this, strike] {
    if (!scene_.foul) return;
    Bring(strike);
    Later(strike);
  });
}

Duration Storm::Span() {
  return scene_.world.OneOf<Duration>({200ms, 3s, 30s, scene_.weather.foul / 4});
}
Sl& Storm::AnySl() { return *scene_.sls[scene_.world.random().Below(scene_.sls.size())]; }
Sn& Storm::AnySn() { return *scene_.sns[scene_.world.random().Below(scene_.sns.size())]; }

void Storm::Bring(Strike strike) {
  switch (strike) {
    case Strike::kSlCrash:
    case Strike::kSlMachine:
    case Strike::kSlDisk:
    case Strike::kProgramDies:
    case Strike::kSlStops:
    case Strike::kDiskFull:
    case Strike::kSlowTransfers:
      return BringToSl(strike, AnySl());
    case Strike::kSnCrash:
    case Strike::kSnStops:
    case Strike::kFollowerDisk:
    case Strike::kSentinelOld:
    case Strike::kSnDiskFull:
      return BringToSn(strike, AnySn());
    case Strike::kOneWayCut:
    case Strike::kPartition:
    case Strike::kClockLeaps:
      return BringToNetwork(strike);
    case Strike::kReorganise:
    case Strike::kHomeAway:
    case Strike::kReplays:
    case Strike::kForgeries:
      return BringToHome(strike);
    case Strike::kHastySn:
      return HastySn();
    case Strike::kCurious:
      return Curious();
    case Strike::kAmended:
    case Strike::kRevoked:
    case Strike::kReset:
      return Operate(strike);
  }
}

void Storm::BringToSl(Strike strike, Sl& sl) {
  Network& network = scene_.network;
  const Host host = sl.host();
  if (sl.ended() || !network.up(host)) return;
  // A listed key cannot be replaced, nor one that an identity of many would vouch for, and a root
  // that one node holds would be gone for good.
  const bool irreplaceable = scene_.weather.lists_members || scene_.weather.shares_identity ||
                             (scene_.initial_root && host == 0);
  if (strike == Strike::kSlDisk && irreplaceable) return;
  scene_.statistics.Strike(StrikeName(strike));
  scene_.Tell(StrCat("* ", StrikeName(strike), ": ", sl.name().value()));
  scene_.checker.Struck(sl.name());
  const Duration span = Span();
  switch (strike) {
    case Strike::kProgramDies:
      return sl.ProgramDies();
    case Strike::kDiskFull:
      return sl.FillDiskUntil(scene_.world.Now() + span);
    case Strike::kSlowTransfers:
      return sl.Trouble(scene_.world.OneOf<Quality>({Quality::kStalls, Quality::kBreaksOff,
                                                     Quality::kTrickles, Quality::kWrong}),
                        scene_.world.Now() + span);
    case Strike::kSlStops:
      network.Stop(host);
      return scene_.world.After(span, "goes on", [this, host, life = network.life(host)] {
        if (scene_.network.life(host) == life) scene_.network.Continue(host);
      });
    default:
      break;
  }
  sl.Crash(strike != Strike::kSlCrash);
  if (strike == Strike::kSlDisk) sl.LoseDisk();
  if (scene_.world.Chance(20)) sl.Weigh(scene_.world.Between(std::uint64_t{1}, 3));
  scene_.checker.AfterCrash(sl);
  scene_.world.After(span, "starts", [this, &sl] {
    if (!sl.ended() && !scene_.network.up(sl.host()))
      sl.Start(scene_.world.Between(Duration(1ms), 2s));
  });
}

void Storm::BringToSn(Strike strike, Sn& chosen) {
  const bool embedded = scene_.home.is_final_at_once();
  const bool old = strike == Strike::kSentinelOld;
  Sn& sn = old ? *scene_.sns.front() : chosen;
  if (!scene_.network.up(sn.host())) return;
  if (old && (!embedded || sn.end()->position() < 4)) return;
  if (strike == Strike::kFollowerDisk && sn.orders()) return;
  scene_.statistics.Strike(StrikeName(strike));
  scene_.Tell(StrCat("* ", StrikeName(strike), ": ", sn.name().value()));
  const Duration span = Span();
  if (strike == Strike::kSnDiskFull) return sn.FillDiskUntil(scene_.world.Now() + span);
  if (strike == Strike::kSnStops) {
    scene_.network.Stop(sn.host());
    return scene_.world.After(span, "goes on",
                              [this, host = sn.host(), life = scene_.network.life(sn.host())] {
                                if (scene_.network.life(host) == life)
                                  scene_.network.Continue(host);
                              });
  }
  sn.Crash(scene_.world.Chance(50));
  if (strike == Strike::kFollowerDisk) sn.LoseDisk();
  if (old) {
    scene_.may_split = true;
    const auto lost = scene_.world.Between(std::uint64_t{1},
                                           static_cast<std::uint64_t>(sn.end()->position()) - 2);
    sn.Restore(sn.end()->position() - static_cast<std::int64_t>(lost));
  }
  scene_.world.After(span, "sn starts", [this, &sn] {
    if (!scene_.network.up(sn.host())) sn.Start();
  });
}

void Storm::BringToNetwork(Strike strike) {
  const std::size_t hosts = scene_.sls.size() + scene_.sns.size();
  scene_.statistics.Strike(StrikeName(strike));
  const Instant until = scene_.world.Now() + Span();
  if (strike == Strike::kClockLeaps) {
    const Duration by = scene_.world.OneOf<Duration>({1s, 20s, 3600s});
    const std::size_t host = scene_.world.random().Below(hosts);
    scene_.Tell(StrCat("* the clock of host ", host, " leaps by ", by / 1s, " s"));
    if (host < scene_.sls.size()) {
      scene_.checker.Struck(scene_.sls[host]->name());
      return scene_.sls[host]->LeapClock(by);
    }
    return scene_.sns[host - scene_.sls.size()]->LeapClock(by);
  }
  if (strike == Strike::kOneWayCut) {
    const Host from = scene_.world.random().Below(hosts);
    const Host to = scene_.world.random().Below(hosts);
    scene_.Tell(StrCat("* host ", from, " no longer reaches ", to));
    if (from != to) scene_.network.Cut(from, to, until);
    return;
  }
  std::vector<bool> left;
  std::string sides;
  for (Host host = 0; host < hosts; ++host) {
    left.push_back(scene_.world.Chance(50));
    StrAppend(&sides, left.back() ? "l" : "r");
  }
  scene_.Tell(StrCat("* partition ", sides));
  for (Host a = 0; a < hosts; ++a) {
    for (Host b = 0; b < hosts; ++b) {
      if (left[a] != left[b]) scene_.network.Cut(a, b, until);
    }
  }
}

void Storm::BringToHome(Strike strike) {
  const bool embedded = scene_.home.is_final_at_once();
  switch (strike) {
    case Strike::kReorganise:
      return scene_.home.Reorganise();
    case Strike::kHomeAway: {
      if (embedded) return;
      scene_.statistics.Strike(StrikeName(strike));
      Sn& sn = AnySn();
      scene_.Tell(StrCat("* ", sn.name().value(), " loses its chain node"));
      return sn.LoseHomeUntil(scene_.world.Now() + Span());
    }
    case Strike::kReplays:
      return AppendAgain(scene_);
    default:
      return Forge(scene_);
  }
}

void Storm::Operate(Strike strike) {
  Sn& sn = AnySn();
  const Contract* const contract = sn.end()->Find(kTraining);
  if (!scene_.network.up(sn.host()) || contract == nullptr || contract->phase == Phase::kDone ||
      contract->instance > sn.final()->place().position)
    return;
  Event event = ContractReset{};
  if (strike == Strike::kAmended)
    event = ContractAmended{scene_.world.Between(std::uint64_t{1}, scene_.sls.size()), {}};
  if (strike == Strike::kRevoked) {
    if (contract->nodes.empty() || scene_.weather.lists_members) return;
    auto chosen = contract->nodes.begin();
    std::advance(chosen, scene_.world.random().Below(contract->nodes.size()));
    if (scene_.initial_root && chosen->first == scene_.sls.front()->name()) return;
    event = NodeRevoked{chosen->first, {}};
    scene_.checker.Struck(chosen->first);
  }
  SayAsOperator(sn, event, StrikeName(strike));
}

void Storm::SayAsOperator(Sn& sn, Event event, std::string_view what) {
  if (!scene_.operators.empty()) {
    // Somebody may have used up the seqs of this key.
    const auto& last = sn.end()->state().last_seq;
    const auto used = last.find(scene_.operators.front().kid());
    if (used != last.end()) operator_seq_ = std::max(operator_seq_, used->second);
  }
  const OperatorClaim claim = ClaimFor(scene_, event, ++operator_seq_, sn.final()->place());
  std::visit(
      [&claim](auto& each) {
        if constexpr (requires {
                        { each.claim } -> std::same_as<OperatorClaim&>;
                      })
          each.claim = claim;
      },
      event);
  if (!sn.Say({event}) || !sn.end()->verdict.valid()) return;
  scene_.statistics.Strike(what);
  scene_.Tell(StrCat("* ", what));
  scene_.checker.OperatorSpoke();
}

void Storm::Amend(std::uint64_t min_peers) {
  SayAsOperator(*scene_.sns.front(), ContractAmended{min_peers, {}}, "operator: lowers the quorum");
}

// What an SN may say and should not: its choice costs time, never safety.
void Storm::Reset() {
  SayAsOperator(*scene_.sns.front(), ContractReset{}, "operator: resets after a loss");
}

void Storm::HastySn() {
  Sn& sn = AnySn();
  const Contract* const contract = sn.end()->Find(kTraining);
  if (!scene_.network.up(sn.host()) || contract == nullptr || contract->nodes.empty() ||
      contract->instance > sn.final()->place().position)
    return;
  const auto some = [&](std::uint64_t percent) {
    std::vector<NodeName> names;
    for (const auto& [name, node] : contract->nodes) {
      if (scene_.world.Chance(percent)) names.push_back(name);
    }
    return names;
  };
  Event event = RoundClosed{contract->round, contract->attempt, some(20)};
  const std::uint64_t what = scene_.world.random().Below(4);
  if (what == 1) event = RoundReopened{contract->round, contract->attempt, some(40)};
  if (what == 2 && contract->sealed_round)
    event = RoundReopened{*contract->sealed_round, AttemptId{0}, some(60)};
  if (what == 3) event = NodeAway{contract->nodes.begin()->first};
  for (const auto& [name, node] : contract->nodes) scene_.checker.Struck(name);
  if (!sn.Say({event})) return;
  scene_.statistics.Strike(StrikeName(Strike::kHastySn));
}

void Storm::Curious() {
  Sl& server = AnySl();
  const Sl& asker = AnySl();
  if (!scene_.network.up(server.host()) || &server == &asker) return;
  const std::optional<Digest> update = server.program().update();
  const Contract* const contract = server.view()->Find(kTraining);
  if (!update || contract == nullptr || contract->FindMember(asker.name()) != nullptr) return;
  scene_.statistics.Strike(StrikeName(Strike::kCurious));
  const Offer offer =
      server.Serve({Wanted::What::kUpdate, *update, contract->set, Position{-1}}, asker.name());
  if (offer.code == Offer::Code::kBytes)
    scene_.checker.Fail(StrCat("access: ", server.name().value(), " gave its update to ",
                               asker.name().value(), ", who takes no part"));
}

// Liars go on as long as the others are enough, and no model is theirs alone.
void Storm::BoundLiars() {
  const Contract* const contract = scene_.home.end()->Find(kTraining);
  bool held = contract == nullptr || !contract->base;
  std::uint64_t others = 0;
  for (const auto& sl : scene_.sls) {
    if (sl->habits().lie != Lie::kNone) continue;
    held = held || sl->Holds(*contract->base);
    others += sl->refused() ? 0U : 1U;
  }
  const bool enough = held && scene_.weather.min_peers >= 2 && others >= scene_.weather.min_peers &&
                      !scene_.statistics.strikes.contains("operator: amends") &&
                      !scene_.statistics.strikes.contains("operator: revokes");
  if (enough) return;
  for (const auto& sl : scene_.sls) sl->Stay(true);
}

void Storm::Heal() {
  scene_.foul = false;
  scene_.Tell("* the storm is over");
  scene_.network.Heal();
  NetworkWeather calm = scene_.weather.network;
  calm.lost_percent = calm.repeated_percent = 0;
  scene_.network.set_weather(calm);
  BoundLiars();
  for (const auto& sn : scene_.sns) {
    sn->FillDiskUntil(Instant{});
    sn->LoseHomeUntil(Instant{});
    if (scene_.network.stopped(sn->host())) scene_.network.Continue(sn->host());
    if (!scene_.network.up(sn->host())) sn->Start();
  }
  for (const auto& sl : scene_.sls) {
    sl->FillDiskUntil(Instant{});
    sl->Trouble(Quality::kGood, Instant{});
    if (scene_.network.stopped(sl->host())) scene_.network.Continue(sl->host());
    if (!sl->ended() && !scene_.network.up(sl->host()))
      sl->Start(scene_.world.Between(Duration(1ms), 2s));
  }
}

}  // namespace starling::simulation
