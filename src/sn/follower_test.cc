// The follower against sentinels that lie, talk nonsense or are slow.
#include "sn/follower.h"

#include <functional>
#include <future>
#include <thread>

#include "gmock/gmock.h"
#include "http/http_testing.h"
#include "sn/sn_testing.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

class FollowerTest : public HttpsTest {
 protected:
  FollowerTest() {
    core_ = SnCore::Open({.decider = {}, .auto_create = false, .orders = false, .hold = {}},
                         {*copy_, clock_, key_, feed_, Log(), {}, {}})
                .value();
    sentinel_ = SnCore::Open({}, {*ledger_, clock_, sentinels_key_, sentinels_feed_, Log(), {}, {}})
                    .value();
    EXPECT_TRUE(sentinel_->CreateLedger(NodeName("sn"), "https://localhost:1").ok());
    answer_ = [this](const HttpRequest& request) { return Honest(request); };
    StartServer(LocalOptions(), [this](const HttpRequest& request, const std::stop_token&) {
      const std::scoped_lock lock(mutex_);
      ++requests_;
      return answer_(request);
    });
    FollowerOptions options;
    options.sentinels = {server_endpoint_};
    options.name = NodeName("f");
    options.api_url = "https://localhost:2";
    options.poll = 1ms;
    options.retry_first = options.retry_max = 1ms;
    follower_ = std::make_unique<Follower>(
        std::move(options), Follower::Deps{*core_, feed_, client_, client_, clock_, key_, Log()});
  }
  ~FollowerTest() override { server_.reset(); }  // before what its threads use
  HttpResponse Honest(const HttpRequest& request) {
    if (request.method == "POST") {
      const Json body = Json::parse(request.body);
      const Result<Place> place = sentinel_->Join(body.at("claim").get<std::string>());
      if (!place.ok()) return ProblemResponse(place.status());
      return JsonResponse({{"position", place->position.value()}});
    }
    return JsonResponse(LedgerPageJson(PageFrom(request)));
  }
  LedgerPage PageFrom(const HttpRequest& request) const {
    const std::int64_t from = std::stoll(request.query.at("from"));
    return {ledger_->End(), ledger_->End(), ledger_->Read(from, {}).value()};
  }
  // Follows until it has caught up.
  Status CatchUp() {
    std::stop_source stop;
    return follower_->Run([&] { stop.request_stop(); }, stop.get_token());
  }
  // What the follower says of a sentinel that answers so; then the honest one is back, and all is
  // well.
  std::string TroubleWith(std::function<HttpResponse(const HttpRequest&)> answer) {
    int asked = 0;
    std::string trouble;
    {
      const std::scoped_lock lock(mutex_);
      answer_ = [&, answer = std::move(answer)](const HttpRequest& request) {
        if (++asked < 3) return answer(request);
        trouble = std::string(follower_->upstream().message());
        return Honest(request);
      };
    }
    EXPECT_EQ(CatchUp(), absl::OkStatus());
    EXPECT_TRUE(follower_->upstream().ok()) << follower_->upstream();
    EXPECT_EQ(trouble.find('\n'), std::string::npos);
    return trouble;
  }

  SigningKey key_ = TestKey(50), sentinels_key_ = TestKey(1);
  std::unique_ptr<Ledger> copy_ = MakeMemoryLedger(clock_);
  std::unique_ptr<Ledger> ledger_ = MakeMemoryLedger(clock_);
  Feed feed_, sentinels_feed_;
  std::unique_ptr<SnCore> core_, sentinel_;
  HttpClientOptions limits_ = [] {
    HttpClientOptions options = PatientOptions();
    options.body_bytes_max = kPageAnswerBytesMax;
    return options;
  }();
  HttpClient client_{*client_party_.tls, limits_};
  std::mutex mutex_;
  int requests_ = 0;
  std::function<HttpResponse(const HttpRequest&)> answer_;
  std::unique_ptr<Follower> follower_;
};

TEST_F(FollowerTest, CopiesTheLogAndJoins) {
  EXPECT_EQ(CatchUp(), absl::OkStatus());
  EXPECT_EQ(feed_.Current()->end, sentinels_feed_.Current()->end);
  EXPECT_TRUE(feed_.Current()->state.sns.contains(NodeName("f")));
  EXPECT_THAT(follower_->ReadyLine(), HasSubstr("ready, follows https://127.0.0.1:"));
}

TEST_F(FollowerTest, NonsenseIsRefusedInOneLineAndAskedAgain) {
  EXPECT_THAT(TroubleWith([](const HttpRequest&) { return TextResponse("hello"); }),
              HasSubstr("not a JSON object"));
  EXPECT_THAT(TroubleWith([](const HttpRequest&) {
                return JsonResponse({{"entries", 7}});
              }),
              HasSubstr("end"));
  EXPECT_THAT(
      TroubleWith([](const HttpRequest&) { return TextResponse(std::string(5U << 20, ' ')); }),
      HasSubstr("at most"));
  EXPECT_THAT(TroubleWith([](const HttpRequest&) { return TextResponse("a\nb", 500); }),
              HasSubstr("500"));
}

TEST_F(FollowerTest, AWrongHeadIsNoEntry) {
  EXPECT_THAT(TroubleWith([this](const HttpRequest& request) {
                LedgerPage page = PageFrom(request);
                page.records[0].head = page.end.head = TestDigest("other");
                return JsonResponse(LedgerPageJson(page));
              }),
              HasSubstr("does not follow"));
}

TEST_F(FollowerTest, AnEndWithoutEntriesIsNonsense) {
  EXPECT_THAT(TroubleWith([this](const HttpRequest& request) {
                LedgerPage page = PageFrom(request);
                page.records.clear();
                return JsonResponse(LedgerPageJson(page));
              }),
              HasSubstr("shows no entry 0"));
}

TEST_F(FollowerTest, ASentinelWhoseLogBecomesShorterIsNotFollowedBackwards) {
  EXPECT_EQ(CatchUp(), absl::OkStatus());
  const Place end = feed_.Current()->end;
  EXPECT_THAT(TroubleWith([this](const HttpRequest&) {
                const LedgerRecord first = ledger_->Read(0, {})->front();
                const LedgerEnd short_end{0, first.head};
                return JsonResponse(LedgerPageJson({short_end, short_end, {}}));
              }),
              HasSubstr("its log ends at position 0, and this copy at 1"));
  EXPECT_EQ(feed_.Current()->end, end);
}

TEST_F(FollowerTest, AnotherLogIsASplitThatEndsIt) {
  EXPECT_EQ(CatchUp(), absl::OkStatus());
  const auto other_ledger = MakeMemoryLedger(clock_);
  ASSERT_TRUE(other_ledger->Append(std::vector<std::string>{"x", "y", "z"}).ok());
  {
    const std::scoped_lock lock(mutex_);
    answer_ = [&](const HttpRequest& request) {
      const std::int64_t from = std::stoll(request.query.at("from"));
      return JsonResponse(LedgerPageJson(
          {other_ledger->End(), other_ledger->End(), other_ledger->Read(from, {}).value()}));
    };
  }

  const Status ended = follower_->Run({}, {});

  EXPECT_EQ(StableCode(ended), "split-ledger");
  const std::string line(ended.message());
  EXPECT_THAT(line, HasSubstr("at position 1 the sentinel has head "));
  EXPECT_THAT(line, HasSubstr(ShortText(other_ledger->Read(1, {})->front().head)));
  EXPECT_THAT(line, HasSubstr(ShortText(feed_.Current()->end.head)));
}

TEST_F(FollowerTest, ASplitThatTheSentinelSeesEndsIt) {
  {
    const std::scoped_lock lock(mutex_);
    answer_ = [](const HttpRequest&) {
      return ProblemResponse(WithCode(absl::AbortedError("at position 1 …"), "split-ledger"));
    };
  }
  EXPECT_EQ(StableCode(follower_->Run({}, {})), "split-ledger");
}

TEST_F(FollowerTest, ARefusedNameEndsIt) {
  ASSERT_TRUE(
      sentinel_
          ->Join(SignSnClaim(
              TestKey(77),
              {.name = NodeName("f"), .key = TestKey(77).public_key(), .api_url = "https://f:1"}, 1,
              Place{}))
          .ok());
  EXPECT_EQ(StableCode(follower_->Run({}, {})), "name-taken");
}

TEST_F(FollowerTest, AStopEndsAWaitForASilentSentinel) {
  std::promise<void> asked;
  std::promise<void> go_on;
  {
    const std::scoped_lock lock(mutex_);
    answer_ = [&, wait = go_on.get_future().share()](const HttpRequest& request) {
      asked.set_value();
      wait.wait();
      return Honest(request);
    };
  }
  std::stop_source stop;
  std::jthread stopper([&] {
    asked.get_future().wait();
    stop.request_stop();
  });
  EXPECT_EQ(follower_->Run({}, stop.get_token()), absl::OkStatus());
  go_on.set_value();
}

TEST_F(FollowerTest, PassesOnWhoAsksAndWhatTheyHaveSeen) {
  HttpRequest request;
  request.method = "POST";
  request.path = "/v1/entries";
  request.headers = {{"starling-seen", "0:x"}, {"cookie", "no"}, {"content-type", "text/x"}};
  request.body = "body";
  request.peer = SpiffeId::Parse("spiffe://swarm.local/swarm/sl").value();
  HttpRequest passed;
  {
    const std::scoped_lock lock(mutex_);
    answer_ = [&](const HttpRequest& got) {
      passed = got;
      return TextResponse("as it is", 418);
    };
  }

  const HttpResponse answer = follower_->Forward(request, {});

  EXPECT_EQ(answer.status, 418);
  EXPECT_EQ(std::get<std::string>(answer.body), "as it is");
  EXPECT_EQ(passed.Header("starling-for"), "spiffe://swarm.local/swarm/sl");
  EXPECT_EQ(passed.Header("starling-seen"), "0:x");
  EXPECT_EQ(passed.Header("content-type"), "text/x");
  EXPECT_EQ(passed.Header("cookie"), "");
  EXPECT_EQ(passed.body, "body");
  request.path = "/v1/a b\r\n";
  EXPECT_EQ(follower_->Forward(request, {}).status, 404);
}

}  // namespace
}  // namespace starling
