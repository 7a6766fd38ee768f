// What is wrong with this node itself, and how it says so: in /readyz, in the log every 5 s, and to
// who probes it.
#include <utility>

#include "base/text.h"
#include "identity/identity_health.h"
#include "sl/home.h"
#include "sl/node_loop.h"
#include "sl/wait_line.h"

namespace starling {
namespace {

constexpr Duration kHeldEvery = 1s;  // a disk that refuses home.json

}  // namespace

void NodeLoop::WatchProgram(std::function<std::optional<int>()> stopped_process) {
  stopped_process_ = std::move(stopped_process);
}

std::string NodeLoop::SentenceOf(const OwnTrouble& own, Instant now) const {
  const auto lasted = std::chrono::duration_cast<std::chrono::milliseconds>(now - own.since);
  return WaitSentence(WaitWords{own.trouble.what, "",
                                FormatLocalTime(parts_.deps.clock.UtcNow() - lasted),
                                own.trouble.next});
}

std::string NodeLoop::TroubleText(const std::string& component, Instant now) const {
  const auto own = troubles_.find(component);
  return own == troubles_.end() ? "" : SentenceOf(own->second, now);
}

void NodeLoop::LookAtTroubles(Instant now) {
  const auto set = [&](const std::string& component, std::optional<Trouble> trouble) {
    if (!trouble) {
      troubles_.erase(component);
      return;
    }
    const auto known = troubles_.find(component);
    const Instant since = known == troubles_.end() ? now : known->second.since;
    troubles_.insert_or_assign(component, OwnTrouble{*std::move(trouble), since});
  };
  std::optional<Trouble> disk;
  if (const std::string& why = home_trouble_.empty() ? disk_trouble_ : home_trouble_; !why.empty())
    disk = Trouble{StrCat("the disk refuses what is to be kept: ", why),
                   "make room; it is tried again every second"};
  set("disk", std::move(disk));
  std::optional<Trouble> program;
  const std::optional<int> stopped =
      stopped_process_ && !program_end_ ? stopped_process_() : std::nullopt;
  if (stopped)
    program = Trouble{StrCat("the training program (process ", *stopped, ") is stopped"),
                      StrCat("let it go on: kill -CONT ", *stopped)};
  set("program", std::move(program));
  const IdentityHealth identity = LookAtIdentity(parts_.deps.identity, parts_.deps.clock.UtcNow());
  set("identity", identity.trouble.empty()
                      ? std::nullopt
                      : std::optional(Trouble{identity.trouble, identity.next}));
  set("clock", link_->clock_trouble());
}

// The SN compares the clocks itself.
std::vector<Trouble> NodeLoop::TroublesToTell() const {
  std::vector<Trouble> told;
  for (const auto& [component, own] : troubles_) {
    if (component != "clock") told.push_back(own.trouble);
  }
  return told;
}

void NodeLoop::SayTroubles(Instant now) {
  if (now < trouble_word_) return;
  trouble_word_ = now + parts_.config.word_every;
  for (const auto& [component, own] : troubles_) {
    if (component == "disk" && program_waits_) continue;  // SayWait() says it.
    parts_.deps.log.Warning("{}: {}", component, SentenceOf(own, now));
  }
}

std::string NodeLoop::WaitText(Instant now) const {
  if (std::string trouble = link_->Trouble(); !trouble.empty()) return trouble;
  if (std::string disk = TroubleText("disk", now); !disk.empty()) return disk;
  const std::optional<Waiting> waiting =
      decider_ ? decider_->WaitingNow(state(), now) : std::nullopt;
  return waiting ? WaitLine(*waiting, now, parts_.deps.clock.UtcNow()) : "";
}

void NodeLoop::SayWait(Instant now) {
  next_word_ = now + parts_.config.word_every;
  const std::string text = WaitText(now);
  if (text.empty()) return;
  parts_.deps.log.Info("{}", text);
  if (program_waits_) static_cast<void>(bridge_->Send(WaitingFrame(text)));
}

void NodeLoop::UpdateReadiness(Instant now) {
  HealthState& health = parts_.health;
  const auto say = [&](const std::string& component, const std::string& trouble) {
    if (trouble.empty()) return health.SetReady(component);
    health.SetWaiting(component, trouble);
  };
  say("sn", link_->Trouble());
  std::string program = TroubleText("program", now);
  if (program.empty() && !program_opened_)
    program =
        "waiting for the training program to open its session; next: it does so by the swarm "
        "callback of its framework, or it is not there yet";
  say("program", program);
  for (const std::string component : {"disk", "clock"}) say(component, TroubleText(component, now));
  // A source that is away is named, and no reason to be left out while the certificate is good.
  const IdentityHealth identity = LookAtIdentity(parts_.deps.identity, parts_.deps.clock.UtcNow());
  if (identity.usable)
    health.SetReady("identity", IdentityWords(identity));
  else
    health.SetWaiting("identity", IdentityWords(identity));
  // To wait for others is no fault of this node.
  std::string waiting = program_waits_ || answered_over_ ? WaitText(now) : "";
  if (over_ && parts_.config.stay) waiting = "over; this node serves on until it is stopped";
  health.SetReady("training", waiting);
}

// The instance must be durable before the first word in it: while the disk refuses it, what comes
// after it waits, too.
void NodeLoop::PerformHeld(Instant now) {
  if (!held_again_ || now < *held_again_) return;
  held_again_.reset();
  std::vector<SlEffect> held = std::exchange(held_, {});
  Perform(std::move(held));
}

void NodeLoop::Do(const RememberEffect& effect) {
  // What is there tells of an earlier training.
  if (effect.instance) RemoveResult();
  const Status written =
      effect.instance ? WriteHome(parts_.config.state_dir, {session_->contract, *effect.instance,
                                                            session_->weight, session_->stated})
                      : RemoveHome(parts_.config.state_dir);
  if (written.ok() && !home_trouble_.empty()) parts_.deps.log.Info("the disk works again");
  home_trouble_ = written.ok() ? "" : std::string(written.message());
  if (written.ok()) return;
  held_.emplace_back(effect);
  held_again_ = parts_.deps.clock.Now() + kHeldEvery;
}

}  // namespace starling
