#include "simulation/sn.h"

#include <algorithm>
#include <memory>

#include "base/check.h"
#include "base/text.h"
#include "simulation/checker.h"
#include "simulation/sl.h"

namespace starling::simulation {
namespace {

constexpr std::uint64_t kKeysOfSns = 1000;  // no SL has these numbers
constexpr Duration kPoll = 20s;
constexpr Duration kChainDelayMax = 300ms;
constexpr Duration kQuiet = 5s;
constexpr int kTurnsMax = 16;

}  // namespace

Sn::Sn(Scene& scene, Host host, std::size_t number)
    : scene_(scene),
      host_(host),
      sentinel_(number == 0),
      name_(StrCat("sn", number)),
      key_(KeyOf(kKeysOfSns + number)),
      clock_(scene.world, scene.weather.sn_drifts[number]),
      end_(scene.chronicle.blank()),
      final_(scene.chronicle.blank()) {}

void Sn::Start() {
  scene_.network.Start(host_);
  SnOptions options;
  options.quorum_grace = scene_.weather.grace;
  options.stall_timeout = scene_.weather.stall_timeout;
  options.probe = true;
  if (!scene_.home.is_final_at_once()) options.kid = key_.kid();
  decider_.emplace(options);
  wake_at_.reset();
  ++wake_number_;
  quiet_until_ = Instant{};
  seq_ = 0;
  recovering_from_.clear();
  if (!orders()) return Follow();
  ReadHome();
  if (sentinel_ && scene_.home.is_final_at_once() && end_->position() >= 0) Recover();
  Wake();
}

void Sn::Crash(bool machine) {
  scene_.network.End(host_, machine);
  decider_.reset();
  waiters_.clear();
  deciding_ = false;
}

void Sn::LoseDisk() { end_ = final_ = scene_.chronicle.blank(); }

void Sn::LeapClock(Duration by) {
  clock_.Leap(by);
  if (scene_.network.up(host_))
    scene_.network.At(host_, Duration(0), "sn leaps", [this] { Wake(); });
}

// --- the log ---

void Sn::OnHome() {
  if (!orders() || !scene_.network.up(host_)) return;
  if (scene_.home.is_final_at_once()) {
    ReadHome();
    scene_.network.At(host_, Duration(0), "sn wakes", [this] { Wake(); });
    return;
  }
  scene_.network.At(host_, scene_.world.Between(Duration(1us), kChainDelayMax), "sn reads", [this] {
    ReadHome();
    Wake();
  });
}

void Sn::ReadHome() {
  if (scene_.world.Now() < home_away_until_) {
    scene_.network.At(host_, home_away_until_ - scene_.world.Now(), "chain is back", [this] {
      ReadHome();
      Wake();
    });
    return;
  }
  end_ = scene_.home.end();
  final_ = scene_.home.final();
}

void Sn::Wake() {
  AnswerWaiters();
  Decide();
  if (scene_.fault == Fault::kFinishedCloseAlone) CloseAlone();
}

// The fault: it closes over the head of a node that still trains.
void Sn::CloseAlone() {
  const Contract* const contract = end_->Find(kTraining);
  if (!decider_ || contract == nullptr || contract->phase != Phase::kCollecting) return;
  const Why why = machine::CannotClose(*contract, machine::Closing(*contract, {}));
  if (why.reason() == Reason::kStillTrains)
    static_cast<void>(Say({RoundClosed{contract->round, contract->attempt, {}}}));
}

void Sn::AnswerWaiters() {
  std::vector<Waiter> waiting;
  for (Waiter& waiter : std::exchange(waiters_, {})) {
    if (final_->place().position > waiter.seen.position) {
      waiter.respond({final_, split_});
    } else {
      waiting.push_back(std::move(waiter));
    }
  }
  waiters_ = std::move(waiting);
}

std::string Sn::CheckSeen(Host from, const Place& seen) {
  if (!split_.empty()) return split_;
  if (seen.position > final_->place().position) {
    if (sentinel_ && scene_.home.is_final_at_once()) TakeFrom(from);
    return "later";
  }
  const Result<Digest> ours = final_->replay.HeadAt(seen.position);
  if (ours.ok() && *ours == seen.head) return "";
  Alarm(StrCat(name_.value(), " and host ", from, " differ at position ", seen.position.value()));
  return split_;
}

void Sn::Alarm(const std::string& why) {
  if (!split_.empty()) return;
  split_ = StrCat("split ledger: ", why);
  scene_.Tell(split_);
  scene_.statistics.Strike("alarm: split ledger");
  if (!scene_.may_split) scene_.checker.Fail(split_);
}

// A log of another node: the same but longer, or an alarm.
void Sn::Adopt(const Log& log) {
  if (log == nullptr || IsPrefix(log, end_)) return;
  if (!IsPrefix(end_, log)) return Alarm(StrCat(name_.value(), " holds another log"));
  if (!sentinel_) {
    end_ = final_ = log;
    return Wake();
  }
  std::vector<std::string> missing;
  for (const Log& page : PagesAfter(log, end_->position())) missing.push_back(page->entry);
  scene_.statistics.Strike("sn: missing entries taken from others");
  scene_.Tell(StrCat(name_.value(), " takes ", missing.size(), " entries that it lacked"));
  scene_.home.Append(missing);
}

void Sn::TakeFrom(Host other) {
  const Scene& scene = scene_;
  scene_.network.Ask<Log>(
      host_, other, "take", 5s,
      [&scene, other](const Respond<Log>& respond) {
        if (other < scene.sls.size()) return scene.sls[other]->ServeLog(respond);
        scene.sns[other - scene.sls.size()]->ServeLog(respond);
      },
      [this, other](const Answer<Log>& answer) {
        if (answer.value) Adopt(*answer.value);
        if (recovering_from_.erase(other) > 0 && recovering_from_.empty()) Wake();
      });
}

// A sentinel that starts may have been restored from an old copy: it hears everybody before it says
// anything.
void Sn::Recover() {
  for (Host other = 0; other < scene_.sls.size() + scene_.sns.size(); ++other) {
    if (other != host_) recovering_from_.insert(other);
  }
  for (const Host other : std::set<Host>(recovering_from_)) TakeFrom(other);
}

void Sn::Restore(std::int64_t end) {
  scene_.home.Restore(end);
  end_ = final_ = scene_.home.end();
}

void Sn::Follow() {
  Sn* const sentinel = scene_.sns.front().get();
  scene_.network.Ask<TailAnswer>(
      host_, sentinel->host(), "follow", kPoll + 10s,
      [sentinel, from = host_, seen = final_->place()](const Respond<TailAnswer>& respond) {
        sentinel->ServeTail(from, seen, respond);
      },
      [this](const Answer<TailAnswer>& answer) {
        const std::int64_t before = final_->position();
        if (answer.value && answer.value->log != nullptr) Adopt(answer.value->log);
        if (!split_.empty()) return;
        const bool grown = final_->position() > before;
        scene_.network.At(host_, grown ? Duration(0) : 1s, "follow again", [this] { Follow(); });
      });
}

// --- decisions ---

bool Sn::CanAppend() const {
  return orders() && split_.empty() && recovering_from_.empty() && end_->position() >= 0 &&
         scene_.world.Now() >= home_away_until_;
}

// What was due meanwhile is decided when it is back.
void Sn::LoseHomeUntil(Instant at) {
  home_away_until_ = at;
  const Duration span = std::max(Duration(0), at - scene_.world.Now());
  scene_.network.At(host_, span, "the home is back", [this] { Decide(); });
}

void Sn::DecideLater(Instant at) {
  if (wake_at_ == at) return;
  wake_at_ = at;
  scene_.network.At(host_, clock_.Until(at), "sn decides", [this, number = ++wake_number_] {
    if (number != wake_number_) return;
    wake_at_.reset();
    Decide();
  });
}

void Sn::Decide() {
  if (!decider_ || deciding_ || !CanAppend()) return;
  deciding_ = true;
  for (int turn = 0; turn < kTurnsMax; ++turn) {
    const Instant now = clock_.Now();
    const SnTodo todo = decider_->Decide(end_->state(), now);
    waiting_.clear();
    for (const Waiting& wait : todo.waiting) StrAppend(&waiting_, wait.what, "; ", wait.next, ". ");
    for (const SnTodo::Notice& notice : todo.notices) scene_.Tell(StrCat("notice: ", notice.text));
    for (const Probe& probe : todo.probes) Ask(probe);
    const bool speaks = !todo.appends.empty() && now >= quiet_until_;
    if (speaks && AppendOwn(todo.appends)) continue;
    if (speaks) quiet_until_ = now + kQuiet;
    std::optional<Instant> at = todo.wake_at;
    if (now < quiet_until_) at = quiet_until_;
    if (at) DecideLater(*at);
    deciding_ = false;
    return;
  }
  deciding_ = false;
  scene_.checker.Fail("sn: the decider does not come to rest");
}

void Sn::Ask(const Probe& probe) {
  scene_.statistics.Effect("sn: probe");
  Sl* const target = scene_.Find(probe.node);
  CHECK(target != nullptr);
  scene_.network.Ask<std::optional<Progress>>(
      host_, target->host(), "probe", kProbeLimit,
      [target, instance = probe.instance](const Respond<std::optional<Progress>>& respond) {
        respond(target->ProgressNow(instance));
      },
      [this, id = probe.id](const Answer<std::optional<Progress>>& answer) {
        ProbeAnswer result;
        if (answer.value) result.progress = *answer.value;
        if (!result.progress) result.why = answer.value ? "not enrolled" : "no answer";
        result.unenrolled = answer.value && !result.progress;
        if (!decider_) return;
        decider_->OnProbe(id, result, clock_.Now());
        Decide();
      });
}

std::uint64_t Sn::NextSeq() const {
  const auto last = end_->state().last_seq.find(key_.kid());
  return std::max(seq_, last == end_->state().last_seq.end() ? 0 : last->second) + 1;
}

std::string Sn::Sign(const ContractName& contract, const Event& event, std::uint64_t seq) const {
  return SignStatement(key_, {contract, seq, final_->place(), event});
}

bool Sn::Say(const std::vector<Event>& events) {
  if (!CanAppend()) return false;
  std::vector<std::string> texts;
  for (const Event& event : events) {
    seq_ = NextSeq();
    texts.push_back(Sign(kTraining, event, seq_));
  }
  scene_.home.Append(texts);
  ReadHome();
  return true;
}

bool Sn::AppendOwn(const std::vector<SnTodo::Append>& appends) {
  std::vector<std::string> texts;
  Log page = end_;
  for (const SnTodo::Append& append : appends) {
    const Contract* const contract = end_->Find(append.contract);
    // Only what is final can be named, and the training must be.
    if (contract != nullptr && contract->instance > final_->place().position) return false;
    seq_ = NextSeq();
    texts.push_back(Sign(append.contract, append.event, seq_));
    page = scene_.chronicle.Append(page, texts.back());
    if (page->verdict.valid()) continue;
    // Nobody else appends to the embedded log, so its own word must fit.
    if (scene_.home.is_final_at_once() && !Mutant::Plays(scene_.fault))
      scene_.checker.Fail(
          StrCat("sn: its own word ", page->verdict.type, " is ignored: ", page->verdict.reason));
    return false;
  }
  if (scene_.world.Now() < disk_full_until_) {
    scene_.statistics.Strike("sn: an append fails");
    return false;
  }
  scene_.home.Append(texts);
  ReadHome();
  return true;
}

// --- requests ---

void Sn::ServeTail(Host from, const Place& seen, const Respond<TailAnswer>& respond) {
  const std::string trouble = CheckSeen(from, seen);
  if (!trouble.empty() && trouble != "later") return respond({nullptr, trouble});
  if (final_->place().position > seen.position) return respond({final_, ""});
  const auto answered = std::make_shared<bool>(false);
  const Respond<TailAnswer> once = [answered, respond](const TailAnswer& answer) {
    if (!std::exchange(*answered, true)) respond(answer);
  };
  waiters_.push_back({seen, once});
  scene_.network.At(host_, kPoll, "poll ends", [this, once] { once({final_, split_}); });
}

void Sn::ServePost(Host from, const std::string& entry, const Place& seen,
                   const Respond<PostAnswer>& respond) {
  using Code = PostAnswer::Code;
  const std::string trouble = CheckSeen(from, seen);
  if (trouble == "later") return respond({Code::kLater, "seen ahead"});
  if (!trouble.empty()) return respond({Code::kSplit, trouble});
  if (orders()) return respond(CanAppend() ? Post(entry) : PostAnswer{Code::kLater, "not now"});
  Sn* const sentinel = scene_.sns.front().get();
  scene_.network.Ask<PostAnswer>(
      host_, sentinel->host(), "forward", 5s,
      [sentinel, from, entry, seen](const Respond<PostAnswer>& back) {
        sentinel->ServePost(from, entry, seen, back);
      },
      [respond](const Answer<PostAnswer>& answer) {
        respond(answer.value.value_or(PostAnswer{Code::kLater, "the sentinel is away"}));
      });
}

PostAnswer Sn::Post(const std::string& entry) {
  using Code = PostAnswer::Code;
  if (scene_.world.Now() < disk_full_until_) {
    scene_.statistics.Strike("sn: an append fails");
    return {Code::kLater, "the disk is full"};
  }
  const Result<Jws> jws = ParseJws(entry, kEntryTyp);
  const Result<Statement> statement =
      jws.ok() ? ParseStatement(jws->payload) : Result<Statement>(jws.status());
  if (!statement.ok()) return {Code::kNever, "bad entry"};
  const Contract* const contract = end_->Find(statement->contract);
  if (contract == nullptr) return {Code::kNever, "no such training"};
  if (contract->FindKid(jws->kid) == nullptr) return {Code::kNever, "unknown key"};
  const auto last = end_->state().last_seq.find(jws->kid);
  if (last != end_->state().last_seq.end() && statement->seq <= last->second) {
    for (Log page = end_; page->before != nullptr; page = page->before) {
      if (page->entry == entry) return {Code::kStored, page->verdict.reason};
    }
    return {Code::kSeqUsed, "its seq is used"};
  }
  if (statement->seen.position < contract->instance) return {Code::kNever, "seen too old"};
  scene_.home.Append(std::vector<std::string>{entry});
  ReadHome();
  return {Code::kStored, end_->verdict.reason};
}

void Sn::ServeEnrol(Host from, const std::string& claim, const Place& seen,
                    const Respond<EnrolAnswer>& respond) {
  using Code = EnrolAnswer::Code;
  const std::string trouble = CheckSeen(from, seen);
  if (trouble == "later") return respond({Code::kLater, "seen ahead", {}});
  if (!trouble.empty()) return respond({Code::kSplit, trouble, {}});
  if (orders()) return respond(CanAppend() ? Enrol(claim) : EnrolAnswer{Code::kLater, "", {}});
  Sn* const sentinel = scene_.sns.front().get();
  scene_.network.Ask<EnrolAnswer>(
      host_, sentinel->host(), "forward", 5s,
      [sentinel, from, claim, seen](const Respond<EnrolAnswer>& back) {
        sentinel->ServeEnrol(from, claim, seen, back);
      },
      [respond](const Answer<EnrolAnswer>& answer) {
        respond(answer.value.value_or(EnrolAnswer{Code::kLater, "the sentinel is away", {}}));
      });
}

// As the SN's API does it: a training that is not there is created and the claim asked for again.
EnrolAnswer Sn::Enrol(const std::string& claim) {
  using Code = EnrolAnswer::Code;
  const Result<SignedNodeClaim> parsed = ParseNodeClaim(claim);
  CHECK(parsed.ok());
  if (scene_.world.Now() < disk_full_until_) return {Code::kLater, "the disk is full", {}};
  const Contract* const training = end_->Find(kTraining);
  const bool over = training != nullptr && training->phase == Phase::kDone;
  if (training == nullptr && scene_.weather.auto_create) {
    static_cast<void>(Say({ContractCreated{CreatedRules(false), {"", "spiffe://sim/sl"}}}));
    return {Code::kSignAgain, "", final_->place()};
  }
  if (training == nullptr) return {Code::kLater, "there is no training yet", {}};
  if (over) return {Code::kRefused, "the training is over", {}};
  if (final_->place().position < training->instance) return {Code::kLater, "not final yet", {}};
  if (parsed->seen.position < training->instance) return {Code::kSignAgain, "", final_->place()};
  const NodeEnrolled event{claim, scene_.weather.shares_identity
                                      ? "spiffe://sim/site"
                                      : StrCat("spiffe://sim/sl/", parsed->claim.name.value())};
  const std::uint64_t seq = NextSeq();
  const std::string entry = Sign(kTraining, event, seq);
  const Log page = scene_.chronicle.Append(end_, entry);
  const Node* const node = training->Find(parsed->claim.name);
  const bool there = node != nullptr && node->present && node->key == parsed->claim.key;
  // The first answer was lost.
  if (page->verdict.reason == "the claim was used before" && there)
    return {Code::kIn, "", end_->place()};
  if (!page->verdict.valid()) return {Code::kRefused, page->verdict.reason, {}};
  seq_ = seq;
  scene_.home.Append(std::vector<std::string>{entry});
  ReadHome();
  return {Code::kIn, "", page->place()};
}

// --- founding ---

Rules Sn::CreatedRules(bool filled) const {
  Rules rules;
  if (filled) rules = StatedRules(scene_.weather);
  rules.witnesses = scene_.fault == Fault::kOneWitness ? 1 : scene_.weather.witnesses;
  if (scene_.weather.merges_round_zero) rules.initial = InitialMerge{};
  if (scene_.initial_root) rules.initial = *scene_.initial_root;
  if (scene_.weather.lists_admins)
    rules.admins = {scene_.operators.empty() ? kOperator : scene_.operators.front().kid()};
  if (scene_.weather.lists_members) {
    for (const auto& sl : scene_.sls) rules.members[sl->name()] = sl->key().public_key();
  }
  return rules;
}

void Sn::Found(bool create) {
  SnJoined joined;
  joined.claim = SignSnClaim(key_, {name_, key_.public_key(), "https://sn0:30304"}, 1, Place{});
  joined.protocol = 1;
  joined.finality = scene_.home.is_final_at_once() ? "embedded" : "depth";
  for (const SigningKey& key : scene_.operators) joined.operator_keys.push_back(key.public_key());
  seq_ = 2;
  scene_.home.Append(
      std::vector<std::string>{SignStatement(key_, {ContractName{}, seq_, Place{}, joined})});
  end_ = scene_.home.end();
  const Place first = end_->place();
  std::vector<std::string> entries;
  for (const auto& sn : scene_.sns) {
    if (sn.get() == this) continue;
    SnJoined other;
    other.claim =
        SignSnClaim(sn->key(), {sn->name(), sn->key().public_key(), "https://sn:30304"}, 1, first);
    entries.push_back(SignStatement(key_, {ContractName{}, ++seq_, first, other}));
  }
  if (create) {
    ContractCreated created{CreatedRules(true), {}};
    created.claim = ClaimFor(scene_, created, 1, first);
    entries.push_back(SignStatement(key_, {kTraining, ++seq_, first, created}));
  }
  if (!entries.empty()) scene_.home.Append(entries);
  scene_.home.Settle();
  for (Log page = scene_.home.end(); page->before != nullptr; page = page->before)
    CHECK(page->verdict.valid());
}

}  // namespace starling::simulation
