#include "simulation/network.h"

#include <algorithm>

namespace starling::simulation {

Network::Network(World& world, Statistics& statistics, std::size_t hosts)
    : world_(world), statistics_(statistics), hosts_(hosts) {}

void Network::Start(Host host) {
  Process& process = hosts_[host];
  process.up = true;
  process.machine_down = false;
  ++process.life;
}

void Network::End(Host host, bool machine) {
  Process& process = hosts_[host];
  process.up = false;
  process.stopped = false;
  process.machine_down = machine;
  ++process.life;
  process.backlog.clear();
  const std::vector<Question> questions = std::exchange(process.questions, {});
  if (machine) return;  // Nobody says that it is gone.
  for (const Question& question : questions) {
    if (!*question.settled) question.reset(Latency());
  }
}

void Network::Remember(Host host, Question question) {
  std::vector<Question>& questions = hosts_[host].questions;
  if (questions.size() >= 64)
    std::erase_if(questions, [](const Question& each) { return *each.settled; });
  questions.push_back(std::move(question));
}

void Network::Continue(Host host) {
  Process& process = hosts_[host];
  process.stopped = false;
  for (auto& [life, run] : std::exchange(process.backlog, {}))
    After(host, life, Duration(0), "goes on", std::move(run));
}

void Network::Cut(Host from, Host to, Instant until) {
  const auto [it, fresh] = cuts_.emplace(std::pair{from, to}, Link{world_.Now(), until});
  if (fresh) return;
  if (it->second.until <= world_.Now()) it->second.since = world_.Now();
  it->second.until = std::max(it->second.until, until);
}

std::optional<Instant> Network::CutSince(Host from, Host to) const {
  const auto it = cuts_.find({from, to});
  if (it == cuts_.end() || it->second.until <= world_.Now()) return std::nullopt;
  return it->second.since;
}

bool Network::IsCut(Host from, Host to) const { return CutSince(from, to).has_value(); }

void Network::Heal() { cuts_.clear(); }

bool Network::Passes(Host from, Host to) {
  if (from == to) return true;
  if (IsCut(from, to)) {
    statistics_.Strike("network: a cut link swallows a message");
    return false;
  }
  if (world_.Chance(weather_.lost_percent)) {
    statistics_.Strike("network: a message is lost");
    return false;
  }
  return true;
}

void Network::Carry(Host from, Host to, std::string_view label,
                    const std::function<void()>& arrive) {
  // A down process answers by a reset, so its life does not matter; a stopped one answers later.
  const auto land = [this, to, arrive] {
    Process& process = hosts_[to];
    if (process.stopped && process.up) {
      process.backlog.emplace_back(process.life, arrive);
    } else {
      arrive();
    }
  };
  if (Passes(from, to)) world_.After(Latency(), label, land);
  if (from == to || !world_.Chance(weather_.repeated_percent)) return;
  statistics_.Strike("network: a message comes twice");
  if (Passes(from, to)) world_.After(4 * Latency(), label, land);
}

void Network::At(Host host, Duration delay, std::string_view label, std::function<void()> run) {
  After(host, life(host), delay, label, std::move(run));
}

void Network::After(Host host, std::uint64_t life, Duration delay, std::string_view label,
                    std::function<void()> run) {
  world_.After(delay, label, [this, host, life, run = std::move(run)] {
    Process& process = hosts_[host];
    if (!process.up || process.life != life) return;
    if (process.stopped) {
      process.backlog.emplace_back(life, run);
    } else {
      run();
    }
  });
}

}  // namespace starling::simulation
