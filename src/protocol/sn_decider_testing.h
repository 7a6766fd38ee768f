// An SnDecider between a log, nodes that answer probes or do not, and a clock that moves when told.
// For the tests of src/protocol.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"
#include "protocol/sn_decider.h"
#include "protocol/story_testing.h"

namespace starling {

inline Rules Quorum(std::uint64_t min_peers) {
  Rules rules;
  rules.min_peers = min_peers;
  return rules;
}

// Nodes answer probes at once unless they are dead; then the probe fails after its limit.
class Sn {
 public:
  explicit Sn(const Names& nodes, const Rules& rules = {},
              const SnOptions& options = {.adapt = true, .probe = true})
      : decider(options) {
    story.Begin(nodes, rules);
  }

  // Lets time pass up to `span`, or until the SN says something. Answers what it says, in words:
  // "close r1 a1 without c", "reopen r1 a0 without c; close r1 a1", "away c"; "" for nothing.
  std::string Within(Duration span) {
    const Instant end = now + span;
    for (int turns = 0; turns < 10'000; ++turns) {
      const SnTodo todo = Decide();
      if (!todo.appends.empty()) return Append(todo);
      if (Answered(todo)) continue;
      Instant next = end;
      if (todo.wake_at) next = std::min(next, *todo.wake_at);
      for (const auto& [id, at] : failing_) next = std::min(next, at);
      if (next > end || (next == end && now == end)) return "";
      EXPECT_GT(next, now) << "the decider wakes without need";
      now = std::max(next, now + Duration(1));
      Fail();
    }
    ADD_FAILURE() << "the decider does not come to rest";
    return "";
  }
  SnTodo Decide() {
    SnTodo todo = decider.Decide(story.replay.state(), now);
    for (const SnTodo::Notice& notice : todo.notices) notices.push_back(notice.text);
    probes += todo.probes.size();
    return todo;
  }
  std::string Waits() {
    const SnTodo todo = Decide();
    static_cast<void>(Answered(todo));
    return todo.waiting.empty() ? "" : StrCat(todo.waiting[0].what, " | ", todo.waiting[0].next);
  }
  // A round of those names; the SN under test closes it, after its grace if others are expected.
  void Round(const Names& names, std::uint64_t train_ms = 0) {
    const std::uint64_t round = story.contract().round.value();
    for (const std::string& name : names) CheckIn(name, train_ms);
    EXPECT_EQ(Within(decider.grace(story.training)).substr(0, 5), "close");
    Seal(names, StrCat("m", round));
  }
  void CheckIn(const std::string& name, std::uint64_t train_ms = 0) {
    CheckedIn event{story.contract().round,
                    RootNamed(StrCat(name, story.contract().round.value())),
                    story.contract().base,
                    {}};
    event.report.train_ms = train_ms;
    EXPECT_EQ(story.Say(name, event), "");
  }
  void Seal(const Names& names, const std::string& root) {
    const RoundId round = story.contract().round;
    for (const std::string& name : names) {
      if (story.contract().round == round && story.contract().phase == Phase::kMerging) {
        EXPECT_EQ(story.Merge(name, root), "");
      }
    }
  }

  Story story;
  SnDecider decider;
  Instant now{};
  std::set<std::string> dead;
  std::set<std::string> unenrolled;          // they answer, but know of no enrolment
  bool no_identity = false;                  // this SN reaches nobody
  std::map<std::string, Progress> progress;  // of those that answer; others tell nothing
  std::vector<std::string> notices;
  std::size_t probes = 0;

 private:
  bool Answered(const SnTodo& todo) {
    bool any = false;
    for (const Probe& probe : todo.probes) {
      if (dead.contains(probe.node.value())) {
        failing_[probe.id] = now + kProbeLimit;
        continue;
      }
      any = true;
      if (no_identity) {
        decider.OnProbe(probe.id, {.why = "this node has no certificate", .own_fault = true}, now);
        continue;
      }
      if (unenrolled.contains(probe.node.value())) {
        decider.OnProbe(probe.id, {std::nullopt, "not enrolled", "", true}, now);
        continue;
      }
      decider.OnProbe(probe.id, {progress[probe.node.value()], ""}, now);
    }
    return any;
  }
  void Fail() {
    for (auto it = failing_.begin(); it != failing_.end();) {
      if (now < it->second) {
        ++it;
        continue;
      }
      decider.OnProbe(it->first, {std::nullopt, "silent", "look at it"}, now);
      it = failing_.erase(it);
    }
  }
  static std::string WithoutText(const std::vector<NodeName>& names) {
    std::string text;
    for (const NodeName& name : names)
      StrAppend(&text, text.empty() ? " without " : "+", name.value());
    return text;
  }
  std::string Append(const SnTodo& todo) {
    std::string text;
    for (const SnTodo::Append& append : todo.appends) {
      StrAppend(&text, text.empty() ? "" : "; ");
      if (const auto* close = std::get_if<RoundClosed>(&append.event)) {
        StrAppend(&text, "close r", close->round.value(), " a", close->attempt.value(),
                  WithoutText(close->without));
      } else if (const auto* open = std::get_if<RoundReopened>(&append.event)) {
        StrAppend(&text, "reopen r", open->round.value(), " a", open->attempt.value(),
                  WithoutText(open->without));
      } else if (const auto* away = std::get_if<NodeAway>(&append.event)) {
        StrAppend(&text, "away ", away->name.value());
      }
      EXPECT_EQ(story.Say("sn", append.event), "");
    }
    return text;
  }

  std::map<ProbeId, Instant> failing_;
};

}  // namespace starling
