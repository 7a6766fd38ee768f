#include "sl/sn_link.h"

#include <condition_variable>
#include <functional>
#include <optional>
#include <utility>

#include "base/fs.h"
#include "base/leaping_clock_testing.h"
#include "base/mailbox.h"
#include "base/scratch_testing.h"
#include "base/text.h"
#include "crypto/json.h"
#include "gmock/gmock.h"
#include "http/http_testing.h"
#include "http/socket.h"

namespace starling {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A log of texts, as an SN shows it.
class ShownLog {
 public:
  void Add(const std::string& entry) {
    head_ = NextHead(head_, entry);
    entries_.push_back({{"position", entries_.size()},
                        {"time_unix_ms", 1},
                        {"head", HexOf(head_)},
                        {"entry", entry}});
  }
  [[nodiscard]] Json Answer(std::size_t from, std::int64_t final_position) const {
    Json shown = Json::array();
    for (std::size_t i = from; i < entries_.size(); ++i) shown.push_back(entries_[i]);
    const Json end = {{"position", static_cast<std::int64_t>(entries_.size()) - 1},
                      {"head", HexOf(head_)}};
    Json answer = {{"end", end},
                   {"final", {{"position", final_position}, {"head", HexOf(head_)}}},
                   {"entries", shown}};
    if (now_unix_ms_) answer["now_unix_ms"] = *now_unix_ms_;
    return answer;
  }
  void SetNow(UtcTime now) { now_unix_ms_ = UnixMs(now); }
  void Alter(std::size_t position, const char* field, Json value) {
    entries_[position][field] = std::move(value);
  }
  [[nodiscard]] const Json& At(std::size_t position) const { return entries_.at(position); }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] std::int64_t end() const { return static_cast<std::int64_t>(entries_.size()) - 1; }

 private:
  std::vector<Json> entries_;
  Digest head_{};
  std::optional<std::int64_t> now_unix_ms_;  // an older SN does not say
};

class SnLinkTest : public HttpsTest {
 protected:
  SnLinkTest() {
    log_.Add("first");
    log_.Add("second");
    good_head_ = log_.At(1).at("head");
    StartServer(LocalOptions(), [this](const HttpRequest& request, const std::stop_token& stop) {
      return Serve(request, stop);
    });
  }
  ~SnLinkTest() override {
    link_.reset();
    server_.reset();  // before what its threads use
  }
  HttpResponse Serve(const HttpRequest& request, const std::stop_token& stop) {
    if (request.method == "POST") {
      const std::scoped_lock lock(mutex_);
      posted_.push_back(request.body);
      headers_.push_back(request.headers);
      if (answers_.empty()) return JsonResponse({{"position", 9}, {"head", HexOf({})}});
      HttpResponse answer = std::move(answers_.front());
      answers_.erase(answers_.begin());
      return answer;
    }
    const auto from = static_cast<std::size_t>(std::stoul(request.query.at("from")));
    {
      std::unique_lock lock(mutex_);
      if (std::exchange(first_waits_, false)) {
        changed_.notify_all();
        static_cast<void>(changed_.wait(lock, stop, [this] { return let_go_; }));
        return Refusal(absl::StatusCode::kUnavailable, "unreachable");
      }
      if (gets_fail_) return Refusal(absl::StatusCode::kUnavailable, "unreachable");
      if (nonsense_answers_ > 0 && --nonsense_answers_ == 0) log_.Alter(1, "head", good_head_);
      if (other_) return JsonResponse(other_->Answer(from, other_->end()));
    }
    if (from >= log_.size()) {  // Nothing more will come.
      std::unique_lock lock(mutex_);
      static_cast<void>(changed_.wait(lock, stop, [this] { return other_.has_value(); }));
      if (other_) return JsonResponse(other_->Answer(from, other_->end()));
    }
    return JsonResponse(log_.Answer(from, final_ < 0 ? log_.end() : final_));
  }
  void ShowInstead(ShownLog other) {
    const std::scoped_lock lock(mutex_);
    other_ = std::move(other);
    changed_.notify_all();
  }
  static Digest ShownHead(const ShownLog& log, std::size_t position) {
    return ParseHexDigest(log.At(position).at("head").get<std::string>()).value();
  }
  void Connect(std::vector<Endpoint> sns = {}) {
    if (sns.empty()) sns = {server_endpoint_};
    SnLinkOptions options;
    options.sns = std::move(sns);
    options.retry_first = options.retry_max = 1ms;
    options.kept_log = kept_log_;
    link_ = std::make_unique<SnLink>(std::move(options), client_, *link_clock_, link_log_,
                                     [this](SnEvent event) { events_.Push(std::move(event)); });
  }
  SnEvent Next() {
    std::optional<SnEvent> event = events_.Pop({}, 60s);
    EXPECT_TRUE(event.has_value());
    return event ? *std::move(event) : SnEvent{EnrolAgain{}};
  }
  std::vector<std::string> Posted() {
    const std::scoped_lock lock(mutex_);
    return posted_;
  }
  static HttpResponse Refusal(absl::StatusCode code, const std::string& stable) {
    return ProblemResponse(WithCode(Status(code, "no"), stable));
  }

  ShownLog log_;
  Json good_head_;                 // of entry 1, as it should be
  std::optional<ShownLog> other_;  // shown from then on
  int nonsense_answers_ = 0;
  bool first_waits_ = false;  // the first question for entries, until let_go_: in vain
  bool let_go_ = false;
  bool gets_fail_ = false;
  KeptLog* kept_log_ = nullptr;
  std::condition_variable_any changed_;
  std::int64_t final_ = -1;  // −1: the end
  std::mutex mutex_;
  std::vector<std::string> posted_;
  std::vector<std::map<std::string, std::string>> headers_;
  std::vector<HttpResponse> answers_;
  Mailbox<SnEvent> events_;
  HttpClient client_{*client_party_.tls, HttpClientOptions{}};
  const Clock* link_clock_ = &clock_;
  Log link_log_;
  std::unique_ptr<SnLink> link_;  // last: it uses what is above
};

TEST_F(SnLinkTest, HandsOnTheLogThatItHasVerified) {
  Connect();

  const SnEvent event = Next();

  const auto& records = std::get<LedgerNews>(event).records;
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[1].position, 1);
  EXPECT_EQ(records[1].entry, "second");
  EXPECT_EQ(link_->Trouble(), "");
  EXPECT_EQ(link_->Seen(), StrCat("1:", HexOf(records[1].head)));
}

TEST_F(SnLinkTest, AClockThatIsAnHourOffTheSnsIsNoticed) {
  log_.SetNow(clock_.UtcNow() - 3600s);
  Connect();
  static_cast<void>(Next());

  const std::optional<Trouble> trouble = link_->clock_trouble();

  ASSERT_TRUE(trouble.has_value());
  EXPECT_THAT(trouble->what, HasSubstr("the clock here is 3600 s ahead of the SN's"));
}

TEST_F(SnLinkTest, AClockThatAgreesOrIsNotToldIsNoTrouble) {
  Connect();
  static_cast<void>(Next());
  EXPECT_FALSE(link_->clock_trouble().has_value());
  link_.reset();
  log_.SetNow(clock_.UtcNow() - 1s);
  Connect();
  static_cast<void>(Next());
  EXPECT_FALSE(link_->clock_trouble().has_value());
}

TEST_F(SnLinkTest, AnSnThatTalksNonsenseIsAskedAgain) {
  log_.Alter(1, "head", HexOf({}));
  nonsense_answers_ = 2;
  Connect();

  const SnEvent event = Next();

  EXPECT_EQ(std::get<LedgerNews>(event).records.size(), 2U);
  EXPECT_EQ(nonsense_answers_, 0);
}

TEST_F(SnLinkTest, AnotherHeadAtAPlaceThatWasReadIsASplitLedgerWithBothHeadsNamed) {
  Connect();
  static_cast<void>(Next());
  ShownLog other;
  other.Add("first");
  other.Add("another second");
  other.Add("third");
  ShowInstead(other);

  const SnEvent event = Next();

  const Status& why = std::get<SnRefusal>(event).why;
  EXPECT_EQ(StableCode(why), "split-ledger");
  EXPECT_THAT(std::string(why.message()), HasSubstr("at position 1 the SN https://127.0.0.1:"));
  EXPECT_THAT(std::string(why.message()), HasSubstr(ShortText(ShownHead(other, 1))));
  EXPECT_THAT(std::string(why.message()), HasSubstr(ShortText(ShownHead(log_, 1))));
}

TEST_F(SnLinkTest, WhatItHasReadIsKeptForAnSnThatHasLostIt) {
  KeptLog kept;
  kept_log_ = &kept;
  Connect();
  static_cast<void>(Next());

  EXPECT_EQ(kept.Page(0)->records.size(), 2U);
  link_.reset();
}

TEST_F(SnLinkTest, AnSnThatIsBehindIsAskedAgain) {
  answers_.push_back(Refusal(absl::StatusCode::kFailedPrecondition, "seen-ahead"));
  answers_.push_back(Refusal(absl::StatusCode::kUnavailable, "behind"));
  answers_.push_back(Refusal(absl::StatusCode::kUnavailable, "catching-up"));
  Connect();
  static_cast<void>(Next());

  link_->SendEntry("one");
  link_->Flush(60s);

  EXPECT_EQ(Posted().size(), 4U);
}

TEST_F(SnLinkTest, EntriesBeyondTheFinalPlaceWait) {
  final_ = 0;
  Connect();

  const SnEvent event = Next();

  ASSERT_EQ(std::get<LedgerNews>(event).records.size(), 1U);
  EXPECT_THAT(link_->Seen(), HasSubstr("0:"));
}

TEST_F(SnLinkTest, SendsInOrderAndTheSameBytesUntilTheSnHasThem) {
  answers_.push_back(Refusal(absl::StatusCode::kUnavailable, "ledger-unavailable"));
  answers_.push_back(Refusal(absl::StatusCode::kInternal, "broken"));
  Connect();

  link_->SendEntry("one");
  link_->SendEntry("two");
  link_->Flush(60s);

  EXPECT_THAT(Posted(), ElementsAre(R"({"entries":["one"]})", R"({"entries":["one"]})",
                                    R"({"entries":["one"]})", R"({"entries":["two"]})"));
}

TEST_F(SnLinkTest, SaysWhoAsksAndWhatItHasSeen) {
  Connect();
  static_cast<void>(Next());
  link_->SetNode("t/a");

  link_->SendEntry("one");
  link_->Flush(60s);

  const std::scoped_lock lock(mutex_);
  EXPECT_EQ(headers_.at(0).at("starling-node"), "t/a");
  EXPECT_THAT(headers_.at(0).at("starling-seen"), HasSubstr("1:"));
}

TEST_F(SnLinkTest, AnEntryThatIsThereAlreadyIsSent) {
  answers_.push_back(Refusal(absl::StatusCode::kAborted, "seq-used"));
  Connect();
  static_cast<void>(Next());

  link_->SendEntry("one");
  link_->Flush(60s);

  EXPECT_EQ(Posted().size(), 1U);
}

TEST_F(SnLinkTest, ARefusalIsReported) {
  answers_.push_back(Refusal(absl::StatusCode::kAborted, "refused"));
  Connect();
  static_cast<void>(Next());

  link_->SendEnrolment(ContractName{"t"}, "claim");
  const SnEvent event = Next();

  EXPECT_TRUE(std::get<SnRefusal>(event).enrol);
  EXPECT_EQ(StableCode(std::get<SnRefusal>(event).why), "refused");
  EXPECT_THAT(Posted(), ElementsAre(R"({"claim":"claim","contract":"t"})"));
}

TEST_F(SnLinkTest, AnEnrolmentThatTheSnTookIsReportedWithItsPlace) {
  Connect();
  static_cast<void>(Next());

  link_->SendEnrolment(ContractName{"t"}, "claim");
  const SnEvent event = Next();

  EXPECT_EQ(std::get<SnEnrolled>(event).position, Position{9});
}

TEST_F(SnLinkTest, AClaimThatIsTooOldIsSignedAgain) {
  answers_.push_back(Refusal(absl::StatusCode::kAborted, "seen-too-old"));
  Connect();
  static_cast<void>(Next());

  link_->SendEnrolment(ContractName{"t"}, "claim");
  const SnEvent event = Next();

  EXPECT_TRUE(std::holds_alternative<EnrolAgain>(event));
}

TEST_F(SnLinkTest, TheNextSnIsTriedWhenOneIsAway) {
  const Endpoint nobody = [] {
    const UniqueFd bound = *ListenSocket("127.0.0.1", 0);
    return Endpoint{"127.0.0.1", LocalPort(bound.get())};
  }();
  Connect({nobody, server_endpoint_});

  const SnEvent event = Next();

  EXPECT_EQ(std::get<LedgerNews>(event).records.size(), 2U);
}

// What is a warning, and what only information.
class LoggedSnLinkTest : public SnLinkTest {
 protected:
  LoggedSnLinkTest() {
    link_clock_ = &leaping_;
    link_log_ = Log::ToFile("link", LogLevel::kInfo, LogFormat::kText, path_);
  }
  ~LoggedSnLinkTest() override { link_.reset(); }  // before its clock
  [[nodiscard]] std::string LogText() const { return ReadFile(path_, 10U << 20).value_or(""); }
  // `meanwhile` goes on happening until the log has the words.
  void AwaitLogged(const char* words, const std::function<void()>& meanwhile = {}) const {
    while (LogText().find(words) == std::string::npos) {
      if (meanwhile)
        meanwhile();
      else
        std::this_thread::yield();
    }
  }
  // Information now, and a warning after `span`.
  void ExpectAWarningOnlyAfter(Duration span, const std::function<void()>& meanwhile = {}) {
    AwaitLogged("INFO : no answer from the SN", meanwhile);
    EXPECT_THAT(LogText(), Not(HasSubstr("WARNING")));
    leaping_.Leap(span);
    AwaitLogged("WARNING : no answer from the SN", meanwhile);
  }

  LeapingClock leaping_;

 private:
  const ScratchDirectory scratch_;
  const std::string path_ = scratch_.File("log.txt");
};

// Nodes are started together, in any order: only one that is still away after a minute is a fault.
TEST_F(LoggedSnLinkTest, AnSnThatIsNotThereYetIsAWarningAfterAMinute) {
  const UniqueFd bound = *ListenSocket("127.0.0.1", 0);
  Connect({{"127.0.0.1", LocalPort(bound.get())}});
  shutdown(bound.get(), SHUT_RDWR);
  ExpectAWarningOnlyAfter(61s);
}

TEST_F(LoggedSnLinkTest, AnSnThatIsSilentForAMomentIsNoWarning) {
  Connect();
  EXPECT_TRUE(std::holds_alternative<LedgerNews>(Next()));
  server_.reset();
  ExpectAWarningOnlyAfter(16s);
}

// As where something between the two lets short answers through and no long ones.
TEST_F(LoggedSnLinkTest, WhoIsNeverAnsweredIsAWarningThoughTheOtherThreadIs) {
  gets_fail_ = true;
  Connect();
  ExpectAWarningOnlyAfter(16s, [this] {
    link_->SendEntry("entry");
    link_->Flush(60s);
  });
}

// As where the first packets to an SN that is not ready yet are dropped: who waited for their
// answer hears nothing of the other thread's success.
TEST_F(LoggedSnLinkTest, AnAttemptOlderThanTheFirstAnswerIsNoWarning) {
  first_waits_ = true;
  Connect();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !first_waits_; });
  }
  link_->SendEntry("entry");
  while (!link_->Trouble().empty()) std::this_thread::yield();  // the SN has answered the sender
  {
    const std::scoped_lock lock(mutex_);
    let_go_ = true;
    changed_.notify_all();
  }

  EXPECT_TRUE(std::holds_alternative<LedgerNews>(Next()));

  EXPECT_THAT(LogText(), HasSubstr("INFO : one question to the SN"));
  EXPECT_THAT(LogText(), Not(HasSubstr("WARNING")));
}

}  // namespace
}  // namespace starling
