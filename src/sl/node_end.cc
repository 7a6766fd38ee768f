// How a node ends: with its program, with the training, or with an error.
#include <filesystem>
#include <utility>

#include "base/fs.h"
#include "base/text.h"
#include "crypto/json.h"
#include "sl/node_loop.h"

namespace starling {
namespace {

constexpr Duration kAwayWithin = 2s;  // to say node-away
constexpr std::size_t kLastWordsMax = 300;
constexpr int kStopped = 143;  // what a shell says of SIGTERM

}  // namespace

void NodeLoop::Handle(ProgramEnd end) {
  program_end_ = std::move(end);
  if (!program_end_->last_lines.empty()) program_lines_ = program_end_->last_lines;
  if (resumed_ && !replayed_) return;  // Only the log tells whether it had finished before.
  ProgramEnded();
}

void NodeLoop::ProgramEnded() {
  if (failure_ || exit_) return;  // Tick() goes on.
  const int code = program_end_->exit_code;
  const std::string how = program_end_->signal != 0
                              ? StrCat("was killed by signal ", program_end_->signal)
                              : StrCat("ended with exit code ", code);
  const std::string words =
      program_lines_.empty()
          ? ""
          : StrCat("; it said last: ", Printable(program_lines_.back(), kLastWordsMax));
  if (HasFinished()) {  // The SL goes on until the training is over.
    if (code != 0) parts_.deps.log.Error("the program {} after its training had finished", how);
    Perform(decider_->OnProgramGone(state(), parts_.deps.clock.Now()));
    StartFetchIfDue();
    return LeaveIfOver();
  }
  if (!synced_) {
    return ProgramFailed(WithNext(
        WithCode(absl::AbortedError(StrCat("the program ", how, " without a single sync", words)),
                 "no-sync"),
        "does it pass the swarm callback to its training?"));
  }
  ProgramFailed(WithCode(
      absl::AbortedError(StrCat("the program ", how, " before its training was over", words)),
      "program-ended"));
}

// A child until its end is known, another program while its session is open.
bool NodeLoop::ProgramRuns() const {
  return parts_.config.program.empty() ? program_opened_ && !bridge_closed_ : !program_end_;
}

// The program has asked to finish, or one before a restart had: others count on this node to the
// end.
bool NodeLoop::HasFinished() const {
  const Node* const me = OwnNode();
  return finished_ || (me != nullptr && me->kind != NodeKind::kTrainer);
}

void NodeLoop::ProgramFailed(const Status& why) {
  if (!program_lines_.empty()) {
    parts_.deps.log.Error("the last lines of the program:");
    for (const std::string& line : program_lines_)
      parts_.deps.log.Error("  {}", Printable(line, 500));
  }
  parts_.deps.log.Error("{}", ErrorLine(why, "starling sl"));
  SayAway(std::string(why.message()));
  exit_ = program_end_ && program_end_->exit_code != 0 ? program_end_->exit_code : 1;
}

void NodeLoop::Fail(Status why) {
  if (failure_ || exit_) return;
  static_cast<void>(bridge_->Send(ErrorFrame(why, "starling sl")));
  failure_ = std::move(why);
  failing_until_ = parts_.deps.clock.Now() + parts_.config.program_grace;
  transfer_ = {};
  SayAway(std::string(failure_->message()));
}

// Tells the others that this node leaves before the end and why, if it takes part at all.
void NodeLoop::SayAway(const std::string& why) {
  const Contract* const now = contract();
  const Node* const me = now == nullptr ? nullptr : now->Find(NodeName{parts_.config.name});
  if (me == nullptr || !me->present || now->phase == Phase::kDone ||
      !(me->key == parts_.key.public_key()))
    return;
  Do(AppendEffect{NodeAway{NodeName{parts_.config.name}, Printable(why, kLastWordsMax)}});
  link_->Flush(kAwayWithin);
}

void NodeLoop::Do(const ExitEffect& effect) {
  if (!effect.good && refused_) return Fail(*refused_);
  if (!effect.good) {
    return Fail(WithNext(WithCode(absl::AbortedError(effect.summary), "left"),
                         "start this node again to take part anew"));
  }
  over_ = true;
  parts_.deps.log.Info("{}", effect.summary);
  WriteResult();
  LeaveIfOver();
}

void NodeLoop::Stop() {
  // A container beside the program's is stopped as soon as that has ended: the others may still
  // need the model. Whoever stops it bounds that.
  drains_ = parts_.config.stay && !over_ && HasFinished();
  if (drains_) return parts_.deps.log.Info("stopping as soon as the training is over");
  if (!over_) parts_.deps.log.Info("stopping: this node leaves the training");
  SayAway("it was stopped");
  exit_ = over_ ? 0 : kStopped;
}

// The training is over and the program has ended, or closed its session: nothing is left to do.
void NodeLoop::LeaveIfOver() {
  if (!over_ || ProgramRuns() || (parts_.config.stay && !drains_)) return;
  exit_ = program_end_ ? program_end_->exit_code : (program_raised_ ? 1 : 0);
}

// Of the training that this node was in, which may have been followed by another one meanwhile.
void NodeLoop::WriteResult() {
  const Contract* now = contract();
  if (now == nullptr || !decider_->IsIn(*now)) now = ended_.get();
  if (now == nullptr || now->phase != Phase::kDone) return;
  const std::optional<BlobStore::Kept> kept = parts_.store.FindModel(*now->base);
  Json result = {
      {"training", session_->contract.value()}, {"node", parts_.config.name},
      {"instance", now->instance.value()},      {"rounds", now->sealed_round->value() + 1},
      {"root", RootText(*now->base)},           {"model", kept ? kept->path : ""},
      {"same_on", now->holders.size()},         {"nodes", now->nodes.size()}};
  if (result_ && result_->loss) result["loss"] = *result_->loss;
  if (result_ && result_->metric) result["metric"] = *result_->metric;
  if (const Status written = WriteFileDurably(result_path(), result.dump(2) + "\n"); !written.ok())
    parts_.deps.log.Error("{}", ErrorLine(written, "starling sl"));
}

std::string NodeLoop::result_path() const { return parts_.config.state_dir + "/result.json"; }

void NodeLoop::RemoveResult() const {
  std::error_code error;  // A disk that refuses this refuses what comes next, which says so.
  std::filesystem::remove(result_path(), error);
}

}  // namespace starling
