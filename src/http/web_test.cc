// An ordinary HTTPS server as a client of ours meets it.
#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "http/client.h"
#include "http/web_server_testing.h"

namespace starling {
namespace {

using testing::Ca;
using ::testing::HasSubstr;
using testing::WebServer;

// The certificate of a server at 127.0.0.1, which is called api.example, too.
CertificateSpec ServerSpec() {
  CertificateSpec spec = testing::LeafSpec({});
  spec.dns = {"api.example"};
  spec.ips = {"127.0.0.1"};
  return spec;
}

class WebTest : public ::testing::Test {
 protected:
  void Serve(const CertificateSpec& spec, WebServer::Answer answer, int version = TLS1_3_VERSION) {
    server_ = std::make_unique<WebServer>(ca_, spec, std::move(answer), version);
  }
  void Serve(const CertificateSpec& spec) {
    Serve(spec, [](const WebServer::Request&) { return WebServer::Whole(200, "hello"); });
  }
  [[nodiscard]] Result<ClientResponse> Ask(const Ca& believed, const std::string& host,
                                           int times = 1) {
    const std::string pem = CertificatePem(*believed.certificate).value();
    const std::unique_ptr<TlsContext> tls = TlsContext::CreateForWeb(pem, clock_).value();
    HttpClientOptions options;
    options.connect_timeout = options.idle_timeout = 60s;
    options.body_bytes_max = 1000;
    HttpClient http(*tls, options);
    Result<ClientResponse> answer = absl::UnknownError("not asked");
    for (int i = 0; i < times; ++i) answer = http.Do({host, server_->port()}, {.target = "/"}, {});
    return answer;
  }
  [[nodiscard]] Result<ClientResponse> Ask() { return Ask(ca_, "127.0.0.1"); }
  std::string AnswerTo(const std::string& bytes) {
    Serve(ServerSpec(), [bytes](const WebServer::Request&) { return bytes; });
    const Result<ClientResponse> answer = Ask();
    return answer.ok() ? answer->body : std::string(answer.status().message());
  }

  const ManualClock clock_{testing::kNow};
  const Ca ca_{"a"};
  std::unique_ptr<WebServer> server_;
};

TEST_F(WebTest, AServerIsBelievedByItsCaAndItsAddress) {
  Serve(ServerSpec());
  const Result<ClientResponse> answer = Ask();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->body, "hello");
  EXPECT_FALSE(answer->peer.has_value());
}

TEST_F(WebTest, AServerOfTls12IsTakenToo) {
  Serve(
      ServerSpec(), [](const WebServer::Request&) { return WebServer::Whole(200, "old"); },
      TLS1_2_VERSION);
  const Result<ClientResponse> answer = Ask();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->body, "old");
}

TEST_F(WebTest, AServerOfAnotherCaIsRefused) {
  Serve(ServerSpec());
  const Result<ClientResponse> answer = Ask(Ca("a"), "127.0.0.1");
  EXPECT_EQ(StableCode(answer.status()), "unknown-authority") << answer.status();
}

TEST_F(WebTest, ACertificateForAnotherAddressIsRefused) {
  CertificateSpec spec = ServerSpec();
  spec.ips = {"127.0.0.2"};
  Serve(spec);
  EXPECT_EQ(StableCode(Ask().status()), "wrong-host");
}

TEST_F(WebTest, ACertificateForAnotherNameIsRefused) {
  Serve(ServerSpec());  // It says nothing of localhost.
  const Result<ClientResponse> answer = Ask(ca_, "localhost");
  EXPECT_EQ(StableCode(answer.status()), "wrong-host") << answer.status();
}

TEST_F(WebTest, ACertificateIsForItsNameByTheGivenClock) {
  CertificateSpec spec = ServerSpec();
  spec.dns = {"localhost"};
  Serve(spec);
  EXPECT_TRUE(Ask(ca_, "localhost").ok());
  spec.not_after = testing::kNow - 1s;
  Serve(spec);
  EXPECT_EQ(StableCode(Ask().status()), "expired");
  spec.not_before = testing::kNow + 60s;
  spec.not_after = testing::kNow + 120s;
  Serve(spec);
  EXPECT_EQ(StableCode(Ask().status()), "not-yet-valid");
}

TEST_F(WebTest, AChunkedAnswerIsReadWholeAndTheConnectionUsedAgain) {
  std::atomic<int> asked = 0;
  Serve(ServerSpec(), [&](const WebServer::Request&) {
    ++asked;
    return std::string(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\nA;name=value\r\n, world!!!\r\n0\r\nTrailer: x\r\n\r\n");
  });
  const Result<ClientResponse> answer = Ask(ca_, "127.0.0.1", 2);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->body, "hello, world!!!");
  EXPECT_EQ(asked, 2);
}

TEST_F(WebTest, AChunkedAnswerIsBounded) {
  const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string chunk = "1F4\r\n" + std::string(500, 'x') + "\r\n";
  EXPECT_EQ(AnswerTo(head + chunk + chunk + "0\r\n\r\n").size(), 1000U);
  EXPECT_THAT(AnswerTo(head + chunk + chunk + "1\r\nx\r\n0\r\n\r\n"), HasSubstr("more than 1000"));
  EXPECT_THAT(AnswerTo(head + "FFFFFFFF\r\n"), HasSubstr("more than 1000"));
  EXPECT_THAT(AnswerTo(head + "FFFFFFFFFFFFFFFFF\r\n"), HasSubstr("without a size"));
  EXPECT_THAT(AnswerTo(head + "5\r\nhelloX\r\n0\r\n\r\n"), HasSubstr("longer than it says"));
}

}  // namespace
}  // namespace starling
