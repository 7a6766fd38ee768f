// An SlDecider between a log and a program, told in words. For the tests of src/protocol.
#pragma once

#include <gtest/gtest.h>

#include "base/text.h"
#include "protocol/sl_decider.h"
#include "protocol/story_testing.h"

namespace starling {

inline std::string Words(const std::vector<NodeName>& names) {
  std::string text;
  for (const NodeName& name : names) StrAppend(&text, text.empty() ? "" : "+", name.value());
  return text;
}

// Roots are told by the words they were made from.
inline std::string WordOf(const Digest& root) {
  for (const std::string prefix : {"a", "b", "c", "m", "x"}) {
    for (int i = 0; i < 10; ++i) {
      if (root == RootNamed(StrCat(prefix, i))) return StrCat(prefix, i);
    }
  }
  return ShortText(root);
}

struct Text {
  std::string operator()(const EnrolEffect&) const { return "enrol"; }
  std::string operator()(const AppendEffect& e) const {
    std::string text = StrCat("append ", TypeOf(e.event));
    if (const auto* in = std::get_if<CheckedIn>(&e.event)) {
      StrAppend(&text, " r", in->round.value(), " ", WordOf(in->update));
    } else if (const auto* merged = std::get_if<RoundMerged>(&e.event)) {
      StrAppend(&text, " r", merged->round.value(), " ", WordOf(merged->root));
    } else if (const auto* stalled = std::get_if<Stalled>(&e.event)) {
      StrAppend(&text, " r", stalled->round.value(), " a", stalled->attempt.value(), " on ",
                Words(stalled->on), " (", stalled->why, ")");
    } else if (const auto* finished = std::get_if<NodeFinished>(&e.event)) {
      if (finished->update) StrAppend(&text, " ", WordOf(*finished->update));
    }
    return text;
  }
  std::string operator()(const MergeEffect& e) const {
    return StrCat("merge r", e.job.round.value(), " of ", e.job.members.size());
  }
  std::string operator()(const AbandonEffect&) const { return "abandon"; }
  std::string operator()(const StoreUpdateEffect& e) const {
    return StrCat("store ", WordOf(e.update));
  }
  std::string operator()(const DropUpdateEffect& e) const {
    return StrCat("drop ", WordOf(e.update));
  }
  std::string operator()(const RememberEffect& e) const {
    return e.instance ? "remember" : "forget";
  }
  std::string operator()(const ProbeEffect& e) const {
    return StrCat("probe ", e.probe.node.value());
  }
  std::string operator()(const FetchEffect& e) const {
    return StrCat("fetch ", WordOf(e.root), " from ", Words(e.holders));
  }
  std::string operator()(const AnswerEffect& e) const {
    return StrCat("answer r", e.round.value(), " ", WordOf(e.root), e.counted ? " counted" : "",
                  e.over ? " over" : "");
  }
  std::string operator()(const AttentionEffect&) const { return "attention"; }
  std::string operator()(const KeepEffect& e) const {
    return StrCat("keep r", e.round.value(), " ", WordOf(e.root), e.final ? " final" : "");
  }
  std::string operator()(const ExitEffect& e) const {
    return StrCat(e.good ? "exit: " : "exit bad: ", e.summary);
  }
};

// One SL under test, "a", in a story in which the others' words are told by the test.
class Sl {
 public:
  enum class Log : std::uint8_t { kRead, kUnread };
  explicit Sl(Story& story, Log log = Log::kRead)
      : Sl(story, {story.training, NodeName{"a"}, story.key("a").public_key()}, {}, log) {}
  // Who remembers where it was is told by the test that the log is read.
  Sl(Story& story, SlConfig config, const SlMemory& memory, Log log = Log::kRead)
      : story_(story), decider_(std::move(config), memory) {
    if (!memory.instance && log == Log::kRead) {
      EXPECT_EQ(Started(), "");
    }
  }
  // One that can be restarted, with what it finds on its disk, and that probes.
  static SlConfig Durable(const Story& story) {
    SlConfig config{story.training, NodeName{"a"}, story.key("a").public_key()};
    config.durable = config.probe = true;
    return config;
  }

  // The effects in words, one a line. Appends are appended, enrolments accepted, unless `mute`.
  std::string Do(const std::vector<SlEffect>& effects) {
    std::string text;
    for (const SlEffect& effect : effects) {
      StrAppend(&text, text.empty() ? "" : "\n", std::visit(Text{}, effect));
      if (const auto* merge = std::get_if<MergeEffect>(&effect)) job = merge->job;
      if (const auto* probe = std::get_if<ProbeEffect>(&effect)) probes.push_back(probe->probe);
      if (const auto* append = std::get_if<AppendEffect>(&effect)) last = append->event;
      if (mute) continue;
      if (const auto* append = std::get_if<AppendEffect>(&effect)) {
        said.push_back(story_.Say("a", append->event));
      } else if (std::holds_alternative<EnrolEffect>(effect)) {
        EXPECT_EQ(story_.Enrol("a"), "");
      }
    }
    return text;
  }
  [[nodiscard]] bool IsIn() const { return decider_.IsIn(story_.contract()); }
  std::string Started() { return Do(decider_.OnStarted(state(), now)); }
  std::string Refused(const std::string& why, bool again) {
    return Do(decider_.OnEnrolRefused(why, again, state(), now));
  }
  // What the log made of the newest own entry.
  std::string Own(const std::string& ignored) {
    return Do(decider_.OnOwnEntry(*last, ignored, state(), now));
  }
  std::string Stalls(const std::vector<SourceFailure>& failures) {
    return Do(decider_.OnStalled(job, failures, state(), now));
  }
  std::string Stored(const std::string& update) {
    return Do(decider_.OnUpdateStored(RootNamed(update), state(), now));
  }
  std::string Probed(const Probe& probe, bool answers, std::uint64_t done_bytes = 0) {
    ProbeAnswer answer;
    if (answers) answer.progress = Progress{.done_bytes = done_bytes};
    return Do(decider_.OnProbe(probe.id, answer, state(), now));
  }
  // The probe failed for want of an identity of this node.
  std::string CannotProbe(const Probe& probe) {
    return Do(decider_.OnProbe(probe.id, {.why = "", .own_fault = true}, state(), now));
  }
  [[nodiscard]] std::optional<Progress> Tells() const {
    return decider_.ProgressNow(story_.contract().instance, state(), now);
  }
  [[nodiscard]] std::optional<struct Waiting> Waits() const {
    return decider_.WaitingNow(state(), now);
  }
  std::string Open() { return Do(decider_.OnOpened(state(), now)); }
  std::string Enrolled() { return Do(decider_.OnEnrolled(state(), now)); }
  std::string Ledger() { return Do(decider_.OnLedger(state(), now)); }
  std::string Time() { return Do(decider_.OnTime(state(), now)); }
  std::string Sync(const std::string& update) {
    return Do(decider_.OnProgram(ProgramSync{RootNamed(update), {}}, state(), now));
  }
  std::string Finish(const std::string& update, FinishMode mode = FinishMode::kSnapshot) {
    return Do(decider_.OnProgram(ProgramFinish{mode, RootNamed(update), {}}, state(), now));
  }
  std::string Gone() { return Do(decider_.OnProgramGone(state(), now)); }
  std::string Merged(const std::string& root) {
    std::string text = Merged(job, root);
    if (text.substr(0, 4) == "keep") StrAppend(&text, "\n", Kept(root));  // Before it votes.
    return text;
  }
  std::string Merged(const MergeJob& which, const std::string& root) {
    return Do(decider_.OnMerged(which, RootNamed(root), {}, state(), now));
  }
  std::string Fetched(const std::string& root) {
    return Do(decider_.OnFetched(RootNamed(root), state(), now));
  }
  std::string Kept(const std::string& root) {
    return Do(decider_.OnKept(RootNamed(root), state(), now));
  }
  [[nodiscard]] std::string Waiting() const { return decider_.WaitingText(state()); }
  [[nodiscard]] std::optional<Instant> wake_at() const { return decider_.wake_at(); }

  Instant now{};
  MergeJob job;
  std::vector<std::string> said;  // what became of own appends
  std::optional<Event> last;      // the newest of them
  std::vector<Probe> probes;
  bool mute = false;

 private:
  [[nodiscard]] const LedgerState& state() const { return story_.replay.state(); }
  Story& story_;
  SlDecider decider_;
};

// "a" and "b" enrolled, round 0 merged by both: a's program holds m0 and trains.
struct Trained {
  Trained() {
    story.Begin({"b"});
    EXPECT_EQ(sl.Open(), "enrol");
    EXPECT_EQ(sl.Sync("a0"), "append checked-in r0 a0");
    EXPECT_EQ(story.CheckIn("b", "b0"), "");
    EXPECT_EQ(story.Close(), "");
    EXPECT_EQ(sl.Ledger(), "merge r0 of 2");
    EXPECT_EQ(sl.Merged("m0"), "append round-merged r0 m0");
    EXPECT_EQ(story.Merge("b", "m0"), "");
    EXPECT_EQ(sl.Ledger(), "answer r0 m0 counted\nkeep r0 m0");
    EXPECT_EQ(sl.Kept("m0"), "");
  }
  // b closes and seals a round in which a takes no part.
  void RoundWithout(const std::string& root) {
    const std::string update = StrCat("b", story.contract().round.value());
    EXPECT_EQ(story.CheckIn("b", update), "");
    EXPECT_EQ(story.Close({"a"}), "");
    EXPECT_EQ(story.Merge("b", root), "");
  }
  Story story;
  Sl sl{story};
};

}  // namespace starling
