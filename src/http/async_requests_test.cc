#include "http/async_requests.h"

#include <latch>
#include <mutex>
#include <set>
#include <string>

#include "base/mailbox.h"
#include "gtest/gtest.h"
#include "http/http_testing.h"

namespace starling {
namespace {

class AsyncRequestsTest : public HttpsTest {};

TEST_F(AsyncRequestsTest, AsksSeveralAtOnceAndQueuesTheRest) {
  std::latch both_here(2);
  StartServer(LocalOptions(), [&](const HttpRequest& request, const std::stop_token&) {
    if (request.path != "/rest") both_here.arrive_and_wait();  // Ends only if two run side by side.
    return JsonResponse({{"path", request.path}});
  });
  HttpClient http(*client_party_.tls, PatientOptions());
  std::mutex mutex;
  std::set<std::string> seen;
  std::latch answered(5);
  AsyncRequests requests(http, 2);
  for (const char* path : {"/a", "/b", "/rest", "/rest", "/rest"}) {
    requests.Ask(server_endpoint_, {.target = path}, [&](Result<nlohmann::json> answer) {
      ASSERT_TRUE(answer.ok()) << answer.status();
      {
        const std::scoped_lock lock(mutex);
        seen.insert(answer->at("path"));
      }
      answered.count_down();
    });
  }
  answered.wait();
  EXPECT_EQ(seen, (std::set<std::string>{"/a", "/b", "/rest"}));
}

TEST_F(AsyncRequestsTest, ARefusalIsAnAnswer) {
  StartServer(LocalOptions(), [](const HttpRequest&, const std::stop_token&) {
    return ProblemResponse(absl::NotFoundError("no such training here"));
  });
  HttpClient http(*client_party_.tls, PatientOptions());
  std::latch answered(1);
  AsyncRequests requests(http, 1);
  requests.Ask(server_endpoint_, {.target = "/"}, [&](const Result<nlohmann::json>& answer) {
    EXPECT_TRUE(absl::IsNotFound(answer.status())) << answer.status();
    answered.count_down();
  });
  answered.wait();
}

TEST_F(AsyncRequestsTest, AnAddressThatIsNoneIsAnsweredLikeAFailure) {
  HttpClient http(*client_party_.tls, PatientOptions());
  std::latch answered(1);
  AsyncRequests requests(http, 1);
  EXPECT_TRUE(requests.Ask(Endpoint::ParsePeer("https://169.254.169.254:80", true), {.target = "/"},
                           [&](const Result<nlohmann::json>& answer) {
                             EXPECT_TRUE(absl::IsPermissionDenied(answer.status()));
                             answered.count_down();
                           }));
  answered.wait();
}

TEST_F(AsyncRequestsTest, DestructionGivesUpWhatIsUnderWay) {
  std::latch asked(1);
  StartServer(LocalOptions(), [&](const HttpRequest&, const std::stop_token& stop) {
    asked.count_down();
    Mailbox<char> nobody;
    static_cast<void>(nobody.Pop(stop, 60s));
    return TextResponse("late");
  });
  HttpClient http(*client_party_.tls, PatientOptions());
  {
    AsyncRequests requests(http, 1);
    requests.Ask(server_endpoint_, {.target = "/"},
                 [](const Result<nlohmann::json>&) { FAIL() << "answered after all"; });
    asked.wait();
  }
  server_.reset();
}

}  // namespace
}  // namespace starling
