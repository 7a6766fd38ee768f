#include <array>
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "http/http_testing.h"

namespace starling {
namespace {

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
constexpr std::string_view kLastGet = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

std::string Post(std::size_t announced, const std::string& body) {
  return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(announced) + "\r\n\r\n" +
         body;
}

class LimitsTest : public HttpsTest {
 protected:
  // After whatever else a test did to it.
  void ExpectServiceGoesOn() {
    const auto response = Get(client_party_);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->status, 200);
  }
  void ExpectProblem(const std::string& answer, int status, const std::string& code) {
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::to_string(status) + " ")) << answer;
    EXPECT_NE(answer.find("\r\nconnection: close\r\n"), std::string::npos) << answer;
    EXPECT_NE(answer.find("\"code\":\"" + code + "\""), std::string::npos) << answer;
    ExpectServiceGoesOn();
    EXPECT_EQ(AwaitRefused(code), 1U);
  }
  static HttpResponse Length(const HttpRequest& request, const std::stop_token& /*stop*/) {
    return TextResponse(std::to_string(request.body.size()));
  }
};

TEST_F(LimitsTest, AHeaderUpToTheLimitIsTakenAndNoLonger) {
  HttpServerOptions options = LocalOptions();
  options.header_bytes_max = 1024;
  StartServer(options, Length);
  const std::string frame = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: \r\n\r\n";
  const auto padded = [&](std::size_t size) {
    std::string head = frame;
    return head.insert(frame.size() - 4, std::string(size - frame.size(), 'x'));
  };
  EXPECT_TRUE(Raw(padded(1024)).starts_with("HTTP/1.1 200 "));
  ExpectProblem(Raw(padded(1025)), 431, "header-too-large");
}

TEST_F(LimitsTest, AnEndlessHeaderIsCutOff) {
  StartServer(LocalOptions(), Length);
  ExpectProblem(Raw("GET / HTTP/1.1\r\n" + std::string(std::size_t{1} << 20, 'x')), 431,
                "header-too-large");
}

TEST_F(LimitsTest, ABodyUpToTheLimitIsTakenAndNoLonger) {
  HttpServerOptions options = LocalOptions();
  options.body_bytes_max = 1000;
  StartServer(options, Length);
  HttpClient http(*client_party_.tls, PatientOptions());
  const auto most = http.Do(server_endpoint_,
                            {.method = "POST", .target = "/", .body = std::string(1000, 'x')}, {});
  ASSERT_TRUE(most.ok()) << most.status();
  EXPECT_EQ(most->body, "1000");
  const auto more = http.Do(server_endpoint_,
                            {.method = "POST", .target = "/", .body = std::string(1001, 'x')}, {});
  ASSERT_TRUE(more.ok()) << more.status();
  EXPECT_EQ(more->status, 413);
  ExpectServiceGoesOn();
  EXPECT_EQ(AwaitRefused("body-too-large"), 1U);
}

TEST_F(LimitsTest, AnAnnouncedMonsterIsRefusedUnread) {
  StartServer(LocalOptions(), Length);
  ExpectProblem(Raw(Post(std::size_t{1} << 50, "")), 413, "body-too-large");
}

TEST_F(LimitsTest, TheRefusalOfALargeBodyArrivesWhileItIsStillSent) {
  StartServer(LocalOptions(), Length);
  HttpClient http(*client_party_.tls, PatientOptions());
  const auto response = http.Do(
      server_endpoint_,
      {.method = "POST", .target = "/", .body = std::string(std::size_t{2} << 20, 'x')}, {});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 413);
}

TEST_F(LimitsTest, MalformedRequestsAreAnswered400) {
  StartServer(LocalOptions(), Length);
  ExpectProblem(Raw("GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n"), 400, "malformed");
}

TEST_F(LimitsTest, GarbageIsAnswered400) {
  StartServer(LocalOptions(), Length);
  ExpectProblem(Raw(std::string("\x16\x03\x01\x00\xff", 5) + " garbage\r\n\r\n"), 400, "malformed");
}

TEST_F(LimitsTest, ChunkedBodiesAreRefused) {
  StartServer(LocalOptions(), Length);
  ExpectProblem(Raw("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                    "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
                411, "length-required");
}

TEST_F(LimitsTest, ASlowHeaderIsCutOffHoweverBusy) {
  HttpServerOptions options = LocalOptions();
  options.header_timeout = 50ms;
  StartServer(options, Length);
  const std::unique_ptr<Stream> stream = ConnectRaw();
  ASSERT_NE(stream, nullptr);
  // Bytes that keep coming do not help: only the end of the header would.
  const std::string drip = "GET / HTTP/1.1\r\nX: ";
  for (const char& c : drip) static_cast<void>(stream->WriteAll(AsBytes({&c, 1})));
  const std::string answer = ReadToEnd(*stream);
  ExpectProblem(answer, 408, "too-slow");
}

TEST_F(LimitsTest, ASlowBodyIsCutOff) {
  HttpServerOptions options = LocalOptions();
  options.body_timeout = 50ms;
  StartServer(options, Length);
  ExpectProblem(Raw(Post(10, "12345")), 408, "too-slow");
}

TEST_F(LimitsTest, AnIdleConnectionIsClosedWithoutAWord) {
  HttpServerOptions options = LocalOptions();
  options.idle_timeout = 50ms;
  StartServer(options, Length);
  const std::unique_ptr<Stream> stream = ConnectRaw();
  ASSERT_NE(stream, nullptr);
  EXPECT_EQ(ReadToEnd(*stream), "");
}

TEST_F(LimitsTest, APeerThatDoesNotReadItsAnswerIsCutOff) {
  HttpServerOptions options = LocalOptions();
  options.idle_timeout = 1s;
  const auto large = std::make_shared<const std::string>(std::size_t{64} << 20, 'x');
  std::atomic<bool> broken_off = false;
  StartServer(options, [&](const HttpRequest&, const std::stop_token&) {
    return HttpResponse{
        .body = StreamedBody{large->size(), [&](BodySink& sink, const std::stop_token&) {
                               Status status = sink.Write(AsBytes(*large));
                               broken_off = absl::IsDeadlineExceeded(status);
                               broken_off.notify_all();
                               return status;
                             }}};
  });
  const std::unique_ptr<Stream> stream = ConnectRaw();
  ASSERT_NE(stream, nullptr);
  ASSERT_TRUE(stream->WriteAll(AsBytes(kGet)).ok());
  broken_off.wait(false);  // Nothing is read meanwhile.
  EXPECT_LT(ReadToEnd(*stream).size(), large->size());
}

TEST_F(LimitsTest, OneConnectionTooManyIsRefusedAndServiceGoesOn) {
  HttpServerOptions options = LocalOptions();
  options.connections_max = 2;
  StartServer(options, Length);
  std::unique_ptr<Stream> first = ConnectRaw();
  const std::unique_ptr<Stream> second = ConnectRaw();
  ASSERT_TRUE(first && second);
  EXPECT_FALSE(Get(client_party_).ok());
  ASSERT_TRUE(second->WriteAll(AsBytes(kLastGet)).ok());
  EXPECT_TRUE(ReadToEnd(*second).starts_with("HTTP/1.1 200 "));
  first.reset();
  // The places become free a moment after the connections have ended.
  bool served = false;
  for (int i = 0; i < 10'000 && !served; ++i) served = Get(client_party_).ok();
  EXPECT_TRUE(served);
  EXPECT_GE(AwaitRefused("too-many-connections"), 1U);
}

TEST_F(LimitsTest, OneAddressCannotTakeAllConnections) {
  HttpServerOptions options = LocalOptions();
  options.connections_per_peer_max = 1;
  StartServer(options, Length);
  const std::unique_ptr<Stream> only = ConnectRaw();
  ASSERT_NE(only, nullptr);
  EXPECT_FALSE(Get(client_party_).ok());
  // Linux has a whole network of loopback addresses, but both ends of ours are the same: the limit
  // is by address, not by port.
  EXPECT_EQ(AwaitRefused("too-many-connections-of-peer"), 1U);
}

TEST_F(LimitsTest, ThePlainPortSays503WhenItIsFull) {
  HttpServerOptions options = LocalOptions();
  options.connections_max = 1;
  const auto plain = HttpServer::Start(options, nullptr, Length, Log());
  ASSERT_TRUE(plain.ok());
  const auto connect = [&] {
    return Stream::ConnectPlain("127.0.0.1", (*plain)->port(), 60s, 60s, {}).value();
  };
  const std::unique_ptr<Stream> only = connect();
  ASSERT_TRUE(only->WriteAll(AsBytes(kGet)).ok());
  std::array<std::byte, 4096> answer{};
  ASSERT_TRUE(only->ReadSome(answer).ok());  // So it is the one being served.
  const std::string refused = ReadToEnd(*connect());
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 503 ")) << refused;
  EXPECT_NE(refused.find("too-many-connections"), std::string::npos);
}

TEST_F(LimitsTest, RequestsInOnePacketAreAnsweredInOrder) {
  StartServer(LocalOptions(), Length);
  const std::string answer =
      Raw(Post(3, "abc") + std::string(kGet) + Post(5, "abcde") + std::string(kLastGet));
  std::string bodies;
  for (std::size_t at = 0; (at = answer.find("\r\n\r\n", at)) != std::string::npos; at += 4)
    bodies += answer[at + 4];
  EXPECT_EQ(bodies, "3050");
  EXPECT_EQ(server_->counters().requests, 4U);
  EXPECT_EQ(server_->counters().connections, 1U);
}

TEST_F(LimitsTest, AHandlerThatThrowsIsA500) {
  StartServer(LocalOptions(),
              [](const HttpRequest& request, const std::stop_token&) -> HttpResponse {
                if (request.path == "/throw") throw std::runtime_error("secret detail");
                return TextResponse("fine");
              });
  const auto response = Get(client_party_, "/throw");
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 500);
  EXPECT_EQ(response->body.find("secret"), std::string::npos);
  ExpectServiceGoesOn();
}

TEST_F(LimitsTest, HeaderValuesCannotStartANewHeader) {
  StartServer(LocalOptions(), [](const HttpRequest&, const std::stop_token&) {
    HttpResponse response = TextResponse("x");
    response.headers["x-name"] = "a\r\nset-cookie: b";
    return response;
  });
  const auto response = Get(client_party_);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->headers.at("x-name"), "aset-cookie: b");
  EXPECT_FALSE(response->headers.contains("set-cookie"));
}

TEST_F(LimitsTest, StoppingLetsHandlersAnswerAndEndsIdleConnections) {
  std::atomic<bool> entered = false;
  StartServer(LocalOptions(), [&](const HttpRequest&, const std::stop_token& stop) {
    entered = true;
    entered.notify_all();
    std::atomic<bool> stopped = false;
    const std::stop_callback on_stop(stop, [&] {
      stopped = true;
      stopped.notify_all();
    });
    stopped.wait(false);
    return TextResponse("stopped politely");
  });
  const std::unique_ptr<Stream> idle = ConnectRaw();
  ASSERT_NE(idle, nullptr);
  Result<ClientResponse> response = absl::UnknownError("not asked");
  std::jthread asker([&] { response = Get(client_party_); });
  entered.wait(false);
  server_->Stop();
  asker.join();
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "stopped politely");
  EXPECT_EQ(ReadToEnd(*idle), "");
  EXPECT_FALSE(Get(client_party_).ok());
}

}  // namespace
}  // namespace starling
