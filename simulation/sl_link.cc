// The line of an SL to the SNs: it tails the log, sends what was signed until it is final, and
// moves to another SN when its own is gone.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "simulation/checker.h"
#include "simulation/sl.h"

namespace starling::simulation {
namespace {

constexpr Duration kRetryFirst = 100ms, kRetryMax = 5s;
constexpr Duration kPoll = 20s;
constexpr Duration kResend = 5s;

}  // namespace

void Sl::NextSn(Duration& pause) {
  process_->sn = (process_->sn + 1) % scene_.sns.size();
  pause = std::clamp(pause * 2, kRetryFirst, kRetryMax);
}

void Sl::Tail() {
  Sn* const sn = scene_.sns[process_->sn].get();
  scene_.network.Ask<TailAnswer>(
      host_, sn->host(), "tail", kPoll + 10s,
      [sn, from = host_, seen = view()->place()](const Respond<TailAnswer>& respond) {
        sn->ServeTail(from, seen, respond);
      },
      [this](const Answer<TailAnswer>& answer) {
        if (answer.value && answer.value->log == nullptr) return OnSplit(answer.value->trouble);
        bool grown = false;
        if (answer.value) {
          process_->tail_pause = Duration(0);
          const Log before = view();
          OnTail(answer.value->log);
          if (process_ == nullptr) return;
          grown = before != view();
        } else {
          NextSn(process_->tail_pause);
        }
        const Duration pause = answer.value ? (grown ? Duration(0) : 1s) : process_->tail_pause;
        scene_.network.At(host_, pause, "tails again", [this] { Tail(); });
      });
}

// Two logs claim to be this swarm's: it stops, loudly.
void Sl::OnSplit(const std::string& why) {
  if (!split_.empty()) return;
  split_ = StrCat(name().value(), ": ", why);
  scene_.Tell(split_);
  scene_.statistics.Strike("alarm: split ledger");
  if (!scene_.may_split) scene_.checker.Fail(split_);
}

void Sl::OnTail(const Log& answered) {
  // The fault: what may still be taken back counts as final.
  const Log& log = scene_.fault == Fault::kEndsOnTail ? scene_.home.end() : answered;
  if (IsPrefix(log, view())) {
    if (!process_->started) {
      process_->started = true;
      FindAttempts();
      Perform(process_->decider.OnStarted(state(), now()));
    }
    return;  // An SN that is behind, or an answer that was overtaken.
  }
  if (!IsPrefix(view(), log)) {
    if (scene_.fault != Fault::kEndsOnTail) return OnSplit("split ledger: the SN's log is another");
  }
  const std::vector<Log> pages = PagesAfter(log, view()->position());
  process_->view = log;
  KeepWhatIsNeeded();
  scene_.checker.Replayed(name(), log);
  for (const Log& page : pages) {
    if (process_ == nullptr) return;
    const auto own = std::find_if(process_->unfinal.begin(), process_->unfinal.end(),
                                  [&](const Outgoing& each) { return each.text == page->entry; });
    const auto sending =
        std::find_if(process_->outbox.begin(), process_->outbox.end(),
                     [&](const Outgoing& each) { return each.text == page->entry; });
    std::optional<Event> event;
    if (own != process_->unfinal.end()) {
      event = own->event;
      process_->unfinal.erase(own);
    } else if (sending != process_->outbox.end()) {
      event = sending->event;  // The answer is still on its way; the entry goes on being sent.
    }
    if (event) Perform(process_->decider.OnOwnEntry(*event, page->verdict.reason, state(), now()));
  }
  if (process_ == nullptr) return;
  if (!std::exchange(process_->started, true)) {
    FindAttempts();
    Perform(process_->decider.OnStarted(state(), now()));
  } else {
    Perform(process_->decider.OnLedger(state(), now()));
  }
  if (process_ != nullptr) TellEnrolled();
}

std::uint64_t Sl::NextSeq() {
  const auto last = state().last_seq.find(key_->kid());
  const std::uint64_t used = last == state().last_seq.end() ? 0 : last->second;
  return process_->seq = std::max(process_->seq, used) + 1;
}

void Sl::Do(const AppendEffect& effect) {
  scene_.statistics.Effect(StrCat("sl: append ", TypeOf(effect.event)));
  if (scene_.fault == Fault::kNeverFinishes && name().value() == "n0" &&
      std::holds_alternative<NodeFinished>(effect.event)) {
    return;
  }
  Event event = effect.event;
  if (auto* merged = std::get_if<RoundMerged>(&event)) {
    scene_.checker.Votes(*this, merged->root);
    // Where it would count; elsewhere a lie is only a void entry that it would repeat for ever.
    const Contract* const contract = view()->Find(kTraining);
    if (habits_.lie == Lie::kVotesOther && !honest_ && contract->phase == Phase::kMerging &&
        merged->set == contract->set)
      merged->root = PartsHash().Add("a lie").Add(merged->root).Finish();
  }
  const Statement statement{kTraining, NextSeq(), view()->place(), event};
  process_->outbox.push_back({effect.event, SignStatement(*key_, statement), {}});
  // One word an attempt: who says it again, under another seq, says nothing.
  const bool forges = scene_.foul && scene_.weather.every_of(Strike::kForgeries) > Duration(0);
  if (forges && std::holds_alternative<Stalled>(event) && scene_.world.Chance(20)) {
    scene_.statistics.Strike("noise: a stall is told twice");
    const Statement again{kTraining, NextSeq(), view()->place(), event};
    process_->outbox.push_back({effect.event, SignStatement(*key_, again), {}});
  }
  if (!process_->posting) PostNext();
}

void Sl::PostNext() {
  if (process_->outbox.empty() || !split_.empty()) return;
  process_->posting = true;
  Sn* const sn = scene_.sns[process_->sn].get();
  scene_.network.Ask<PostAnswer>(
      host_, sn->host(), "post", 10s,
      [sn, from = host_, seen = view()->place(), text = process_->outbox.front().text](
          const Respond<PostAnswer>& respond) { sn->ServePost(from, text, seen, respond); },
      [this](const Answer<PostAnswer>& answer) {
        process_->posting = false;
        OnPosted(answer.value.value_or(PostAnswer{}));
        if (process_ == nullptr) return;
        if (process_->posting) return;
        scene_.network.At(host_, process_->post_pause, "posts again", [this] {
          if (!process_->posting) PostNext();
        });
      });
}

void Sl::OnPosted(const PostAnswer& answer) {
  using Code = PostAnswer::Code;
  if (answer.code == Code::kSplit) return OnSplit(answer.why);
  if (answer.code == Code::kLater || process_->outbox.empty()) return NextSn(process_->post_pause);
  process_->post_pause = Duration(0);
  Outgoing sent = std::move(process_->outbox.front());
  process_->outbox.pop_front();
  if (answer.code == Code::kStored) {
    sent.stored = now();
    bool final = false;  // The tail may have been faster.
    for (Log page = view(); page->before != nullptr && !final; page = page->before)
      final = page->entry == sent.text;
    if (!final) process_->unfinal.push_back(std::move(sent));
    return;
  }
  // It will never be stored.
  Perform(process_->decider.OnOwnEntry(sent.event, answer.why, state(), now()));
}

// What was stored and then taken back is sent again, as it is.
void Sl::ResendUnfinal() {
  std::vector<Outgoing> rest;
  const Duration patience = std::max(kResend, 3 * scene_.weather.finality);
  for (Outgoing& each : std::exchange(process_->unfinal, {})) {
    if (now() - each.stored < patience) {
      rest.push_back(std::move(each));
    } else {
      scene_.statistics.Effect("sl: an own entry is sent again");
      process_->outbox.push_back(std::move(each));
    }
  }
  process_->unfinal = std::move(rest);
  if (!process_->posting) PostNext();
  if (process_->enrolled_at && now() - process_->claimed >= patience) {
    process_->enrolled_at.reset();
    PostClaim();
  }
  scene_.network.At(host_, kResend, "resends", [this] { ResendUnfinal(); });
}

// --- enrolment ---

void Sl::Do(const EnrolEffect& effect) {
  process_->claim_instance = effect.instance;
  SignClaim(view()->place());
}

void Sl::SignClaim(const Place& seen) {
  SignedNodeClaim claim;
  claim.contract = kTraining;
  claim.seq = NextSeq();
  claim.seen = seen;
  claim.claim = {name(),
                 key_->public_key(),
                 StrCat("https://", name().value(), ":30305"),
                 weight_,
                 habits_.may_lead,
                 StatedRules(scene_.weather),
                 process_->claim_instance};
  process_->claim = SignNodeClaim(*key_, claim);
  PostClaim();
}

void Sl::PostClaim() {
  Sn* const sn = scene_.sns[process_->sn].get();
  scene_.network.Ask<EnrolAnswer>(
      host_, sn->host(), "claim", 10s,
      [sn, from = host_, seen = view()->place(), claim = process_->claim](
          const Respond<EnrolAnswer>& respond) { sn->ServeEnrol(from, claim, seen, respond); },
      [this](const Answer<EnrolAnswer>& answer) {
        OnEnrolAnswer(answer.value.value_or(EnrolAnswer{}));
      });
}

void Sl::OnEnrolAnswer(const EnrolAnswer& answer) {
  using Code = EnrolAnswer::Code;
  switch (answer.code) {
    case Code::kSplit:
      return OnSplit(answer.why);
    case Code::kLater:
      NextSn(process_->post_pause);
      return scene_.network.At(host_, process_->post_pause, "claims again",
                               [this] { PostClaim(); });
    case Code::kSignAgain:
      return SignClaim(answer.place);
    case Code::kIn:
      process_->enrolled_at = answer.place.position;
      process_->claimed = now();
      refused_ = false;
      return TellEnrolled();
    case Code::kRefused:
      break;
  }
  scene_.world.Fold(answer.why);
  scene_.Tell(StrCat(name().value(), " is refused: ", answer.why));
  // Its own earlier process may still count as present; a claim may cross an operator's words.
  const bool again = answer.why.find("is present") != std::string::npos ||
                     answer.why.find("was made for") != std::string::npos ||
                     answer.why.find("was used before") != std::string::npos;
  if (!again && !scene_.checker.MayRefuse(answer.why))
    scene_.checker.Fail(StrCat("enrolment: ", name().value(), ": ", answer.why));
  refused_ = !again;
  Perform(process_->decider.OnEnrolRefused(answer.why, again, state(), now()));
}

void Sl::TellEnrolled() {
  if (!process_->enrolled_at || view()->place().position < *process_->enrolled_at) return;
  process_->enrolled_at.reset();
  Perform(process_->decider.OnEnrolled(state(), now()));
}

}  // namespace starling::simulation
