// Network: the processes of a simulated swarm and the links between them. Messages are delayed, so
// they overtake one another, get lost, come twice; links are cut in one direction or both;
// processes are down, stopped or up, and whatever was meant for a process that ended is never run.
// One thread; borrows world and statistics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "simulation/statistics.h"
#include "simulation/world.h"

namespace starling::simulation {

using Host = std::size_t;

struct NetworkWeather {
  Duration latency_max = 1ms;
  std::uint64_t lost_percent = 0;
  std::uint64_t repeated_percent = 0;
};

// What came of a question to another host: its answer, or a connection that was refused or reset,
// or silence until the limit.
enum class Fate : std::uint8_t { kAnswered, kRefused, kSilent };
template <typename T>
struct Answer {
  Fate fate = Fate::kSilent;
  std::optional<T> value;
};

class Network {
 public:
  Network(World& world, Statistics& statistics, std::size_t hosts);
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  void set_weather(const NetworkWeather& weather) { weather_ = weather; }

  // Processes. A machine that is down answers nothing, a process that is down is refused at once.
  [[nodiscard]] bool up(Host host) const { return hosts_[host].up; }
  [[nodiscard]] bool stopped(Host host) const { return hosts_[host].stopped; }
  [[nodiscard]] std::uint64_t life(Host host) const { return hosts_[host].life; }
  void Start(Host host);
  void End(Host host, bool machine);
  void Stop(Host host) { hosts_[host].stopped = true; }  // SIGSTOP
  void Continue(Host host);

  // Links: `from` no longer reaches `to` until that time.
  void Cut(Host from, Host to, Instant until);
  [[nodiscard]] bool IsCut(Host from, Host to) const;
  // Since when nothing passes; nullopt while something does.
  [[nodiscard]] std::optional<Instant> CutSince(Host from, Host to) const;
  void Heal();

  // Runs `run` at `host` after `delay`, unless its process has ended by then; a stopped one runs it
  // when it goes on.
  void At(Host host, Duration delay, std::string_view label, std::function<void()> run);

  // A request and its answer. `serve` runs at `to` and may answer later (a long poll); `done` runs
  // once at `from`, at the latest after `limit`, never after its process has ended.
  template <typename T>
  void Ask(Host from, Host to, std::string_view label, Duration limit,
           std::function<void(std::function<void(T)>)> serve,
           std::function<void(const Answer<T>&)> done) {
    auto settled = std::make_shared<bool>(false);
    const auto settle = [this, settled, from, label, life = life(from), done = std::move(done)](
                            Answer<T> answer, Duration delay) {
      After(from, life, delay, label, [settled, answer = std::move(answer), done] {
        if (std::exchange(*settled, true)) return;
        done(answer);
      });
    };
    settle({}, limit);
    Remember(to, {settled, [settle](Duration delay) {
                    settle({Fate::kRefused, std::nullopt}, delay);
                  }});
    const auto arrive = [this, from, to, settle, serve = std::move(serve)] {
      if (!hosts_[to].up) {
        if (!hosts_[to].machine_down && Passes(to, from))
          settle({Fate::kRefused, std::nullopt}, Latency());
        return;
      }
      serve([this, from, to, settle](T value) {
        if (Passes(to, from)) settle({Fate::kAnswered, std::move(value)}, Latency());
      });
    };
    Carry(from, to, label, arrive);
  }

 private:
  struct Question {
    std::shared_ptr<bool> settled;
    std::function<void(Duration)> reset;
  };
  struct Process {
    bool up = false, stopped = false, machine_down = false;
    std::uint64_t life = 0;
    std::vector<std::pair<std::uint64_t, std::function<void()>>> backlog;  // of a stopped one
    std::vector<Question> questions;  // that it may not have answered
  };
  struct Link {
    Instant since, until;
  };
  [[nodiscard]] Duration Latency() { return world_.Between(Duration(1us), weather_.latency_max); }
  // Draws whether a message gets through.
  [[nodiscard]] bool Passes(Host from, Host to);
  void Remember(Host host, Question question);
  void Carry(Host from, Host to, std::string_view label, const std::function<void()>& arrive);
  void After(Host host, std::uint64_t life, Duration delay, std::string_view label,
             std::function<void()> run);

  World& world_;
  Statistics& statistics_;
  NetworkWeather weather_;
  std::vector<Process> hosts_;
  std::map<std::pair<Host, Host>, Link> cuts_;
};

}  // namespace starling::simulation
