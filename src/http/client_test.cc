#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "base/mailbox.h"
#include "gtest/gtest.h"
#include "http/http_testing.h"
#include "http/message_io.h"
#include "http/socket.h"

namespace starling {
namespace {

std::string Pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<char>('a' + (i * 7 + i / 1000) % 26);
  return bytes;
}

class ClientTest : public HttpsTest {
 protected:
  // Serves `text` as a blob, whole or in ranges.
  void ServeBlob(std::string text) {
    const auto kept = std::make_shared<const std::string>(std::move(text));
    StartServer(LocalOptions(), [kept](const HttpRequest& request, const std::stop_token&) {
      return BlobResponse(request, Slice{AsBytes(*kept), kept});
    });
  }
  // A server of one's own: each entry serves one connection that it is given after the handshake.
  using Script = std::function<void(Stream&)>;
  void ServeScripts(std::vector<Script> scripts) {
    auto listener = ListenSocket("127.0.0.1", 0);
    ASSERT_TRUE(listener.ok()) << listener.status();
    server_endpoint_ = {"127.0.0.1", LocalPort(listener->get())};
    scripted_ = std::jthread([this, held = *std::move(listener),
                              scripts = std::move(scripts)](const std::stop_token& stop) {
      for (const Script& script : scripts) {
        const std::stop_callback wake(stop, [&] { shutdown(held.get(), SHUT_RDWR); });
        if (!WaitReady(held.get(), POLLIN, MomentIn(60s)).ok()) return;
        UniqueFd socket(accept4(held.get(), nullptr, nullptr, SOCK_NONBLOCK));
        if (!socket.valid()) return;
        const auto stream =
            Stream::Accept(std::move(socket), server_party_.tls.get(), 60s, 60s, stop);
        if (stream.ok()) script(**stream);
      }
    });
  }
  static void ReadRequest(Stream& stream) {
    InputBuffer input;
    static_cast<void>(ReadHead(stream, input, {.bytes_max = 16384, .time = 60s}));
  }
  static Script Answering(std::string answer) {
    return [answer = std::move(answer)](Stream& stream) {
      ReadRequest(stream);
      static_cast<void>(stream.WriteAll(AsBytes(answer)));
    };
  }

  HttpClientOptions options_ = PatientOptions();
  std::jthread scripted_;  // Last: it uses the parties.
};

TEST_F(ClientTest, AStreamedAnswerIsReadStraightIntoTheCallersMemory) {
  const std::string blob = Pattern(5'000'000);
  ServeBlob(blob);
  HttpClient http(*client_party_.tls, options_);
  const auto stream = http.Open(
      server_endpoint_, {.target = "/blob", .headers = {{"range", "bytes=1000-3000999"}}}, {});
  ASSERT_TRUE(stream.ok()) << stream.status();
  EXPECT_EQ((*stream)->status(), 206);
  EXPECT_EQ((*stream)->headers().at("content-range"), "bytes 1000-3000999/5000000");
  std::string read(3'000'000, '\0');
  for (std::size_t at = 0, size = 1; at < read.size();
       at += size, size = std::min(size * 3, read.size() - at)) {
    ASSERT_EQ((*stream)->remaining(), read.size() - at);
    ASSERT_TRUE((*stream)->Read(std::as_writable_bytes(std::span(read).subspan(at, size))).ok());
  }
  EXPECT_EQ((*stream)->remaining(), 0U);
  EXPECT_TRUE(read == blob.substr(1000, 3'000'000));
  EXPECT_GT(http.bytes_in(), 3'000'000U);
}

TEST_F(ClientTest, ReadingBeyondTheEndIsRefused) {
  ServeBlob("0123456789");
  HttpClient http(*client_party_.tls, options_);
  const auto stream = http.Open(server_endpoint_, {.target = "/blob"}, {});
  ASSERT_TRUE(stream.ok()) << stream.status();
  Bytes eleven(11);
  EXPECT_TRUE(absl::IsOutOfRange((*stream)->Read(eleven)));
  EXPECT_TRUE((*stream)->Read(std::span(eleven).first(10)).ok());
}

TEST_F(ClientTest, AnErrorOfTheServerIsAStatus) {
  StartServer(LocalOptions(), [](const HttpRequest&, const std::stop_token&) {
    return ProblemResponse(WithNext(
        WithCode(absl::PermissionDeniedError("not yours"), "not-for-you"), "ask its owner"));
  });
  HttpClient http(*client_party_.tls, options_);
  for (const Status& status : {http.Open(server_endpoint_, {.target = "/"}, {}).status(),
                               http.DoJson(server_endpoint_, {.target = "/"}, {}).status()}) {
    EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
    EXPECT_EQ(StableCode(status), "not-for-you");
    EXPECT_EQ(NextStep(status), "ask its owner");
  }
  const auto response = http.Do(server_endpoint_, {.target = "/"}, {});
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->status, 403);
}

TEST_F(ClientTest, JsonGoesBothWays) {
  StartServer(LocalOptions(), [](const HttpRequest& request, const std::stop_token&) {
    return JsonResponse({{"method", request.method}, {"body", request.body}, {"q", request.query}});
  });
  HttpClient http(*client_party_.tls, options_);
  const auto answer =
      http.DoJson(server_endpoint_, {.method = "POST", .target = "/x?a=b", .body = "{}"}, {});
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(*answer, nlohmann::json({{"method", "POST"}, {"body", "{}"}, {"q", {{"a", "b"}}}}));
}

TEST_F(ClientTest, WhatIsNotAJsonObjectIsAnError) {
  std::atomic<int> which = 0;
  StartServer(LocalOptions(), [&](const HttpRequest&, const std::stop_token&) {
    const std::vector<std::string> bodies = {
        "", "[]", "{", "{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}"};
    return TextResponse(bodies[static_cast<std::size_t>(which++)]);
  });
  HttpClient http(*client_party_.tls, options_);
  for (int i = 0; i < 4; ++i)
    EXPECT_FALSE(http.DoJson(server_endpoint_, {.target = "/"}, {}).ok()) << i;
}

TEST_F(ClientTest, ConnectionsAreUsedAgain) {
  ServeBlob("x");
  HttpClient http(*client_party_.tls, options_);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(http.Do(server_endpoint_, {.target = "/"}, {}).ok());
  const auto stream = http.Open(server_endpoint_, {.target = "/"}, {});
  ASSERT_TRUE(stream.ok());
  Bytes one(1);
  ASSERT_TRUE((*stream)->Read(one).ok());
  ASSERT_TRUE(http.Do(server_endpoint_, {.target = "/"}, {}).ok());
  EXPECT_EQ(server_->counters().connections, 1U);
}

TEST_F(ClientTest, AHalfReadAnswerIsNotMixedUpWithTheNext) {
  ServeBlob(Pattern(1'000'000));
  HttpClient http(*client_party_.tls, options_);
  {
    const auto stream = http.Open(server_endpoint_, {.target = "/"}, {});
    ASSERT_TRUE(stream.ok());
    Bytes some(10);
    ASSERT_TRUE((*stream)->Read(some).ok());
  }
  const auto whole = http.Do(server_endpoint_, {.target = "/"}, {});
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_TRUE(whole->body == Pattern(1'000'000));
}

TEST_F(ClientTest, APooledConnectionThatDiesUnansweredIsReplaced) {
  ServeScripts({[](Stream& stream) {
                  ReadRequest(stream);
                  static_cast<void>(stream.WriteAll(
                      AsBytes("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")));
                  ReadRequest(stream);  // and closes without a word
                },
                Answering("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")});
  HttpClient http(*client_party_.tls, options_);
  const auto first = http.Do(server_endpoint_, {.target = "/"}, {});
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->body, "first");
  const auto second = http.Do(server_endpoint_, {.target = "/"}, {});
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->body, "second");
}

TEST_F(ClientTest, AnAnswerBrokenOffIsNotRepeated) {
  ServeScripts({Answering("HTTP/1.1 200 OK\r\nContent-Le"),
                Answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")});
  HttpClient http(*client_party_.tls, options_);
  EXPECT_TRUE(absl::IsUnavailable(http.Do(server_endpoint_, {.target = "/"}, {}).status()));
}

TEST_F(ClientTest, AnswersOfUnknownLengthAreRefused) {
  const auto says_so = [](const Status& status) {
    return status.message().find("Content-Length") != std::string::npos;
  };
  ServeScripts(
      {Answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
       Answering("HTTP/1.1 200 OK\r\n\r\nhello")});
  HttpClient http(*client_party_.tls, options_);
  const auto streamed = http.Open(server_endpoint_, {.target = "/"}, {});
  EXPECT_TRUE(says_so(streamed.status())) << streamed.status();
  const auto whole = http.Do(server_endpoint_, {.target = "/"}, {});
  EXPECT_TRUE(says_so(whole.status())) << whole.status();
}

TEST_F(ClientTest, AnswersBeyondTheLimitsAreRefused) {
  ServeScripts({Answering("HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n"),
                Answering("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n")});
  options_.body_bytes_max = 1000;
  HttpClient http(*client_party_.tls, options_);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(absl::IsResourceExhausted(http.Do(server_endpoint_, {.target = "/"}, {}).status()))
        << i;
  }
}

TEST_F(ClientTest, SilenceEndsInDeadlineExceeded) {
  ServeScripts({[](Stream& stream) {
                  ReadRequest(stream);
                  ReadRequest(stream);  // until the client has gone
                },
                [](Stream& stream) {
                  ReadRequest(stream);
                  static_cast<void>(stream.WriteAll(
                      AsBytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")));
                  ReadRequest(stream);
                }});
  options_.idle_timeout = 50ms;
  HttpClient http(*client_party_.tls, options_);
  EXPECT_TRUE(absl::IsDeadlineExceeded(http.Do(server_endpoint_, {.target = "/"}, {}).status()));
  EXPECT_TRUE(absl::IsDeadlineExceeded(http.Do(server_endpoint_, {.target = "/"}, {}).status()));
}

// A server that never stops sending, a byte at a time: what it sends would take a quarter of an
// hour.
TEST_F(ClientTest, AByteNowAndThenIsSilence) {
  const Script dripping = [](Stream& stream) {
    ReadRequest(stream);
    Status sent =
        stream.WriteAll(AsBytes("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n12345"));
    Mailbox<char> nobody;  // A pause between two bytes.
    for (int i = 5; sent.ok() && i < 100'000; ++i) {
      static_cast<void>(nobody.Pop({}, 10ms));
      sent = stream.WriteAll(AsBytes("x"));
    }
  };
  ServeScripts({dripping, dripping});
  options_.idle_timeout = 200ms;
  HttpClient http(*client_party_.tls, options_);

  const Status whole = http.Do(server_endpoint_, {.target = "/"}, {}).status();
  const auto stream = http.Open(server_endpoint_, {.target = "/"}, {});
  ASSERT_TRUE(stream.ok()) << stream.status();
  Bytes body(100'000);
  const Status streamed = (*stream)->Read(body);

  EXPECT_TRUE(absl::IsDeadlineExceeded(whole)) << whole;
  EXPECT_TRUE(absl::IsDeadlineExceeded(streamed)) << streamed;
}

TEST_F(ClientTest, AStopEndsAReadThatWaits) {
  ServeScripts({[](Stream& stream) {
    ReadRequest(stream);
    static_cast<void>(
        stream.WriteAll(AsBytes("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")));
    ReadRequest(stream);
  }});
  HttpClient http(*client_party_.tls, options_);
  std::stop_source stop;
  const auto stream = http.Open(server_endpoint_, {.target = "/"}, stop.get_token());
  ASSERT_TRUE(stream.ok()) << stream.status();
  Bytes ten(10);
  ASSERT_TRUE((*stream)->Read(std::span(ten).first(5)).ok());
  const std::jthread stopper([&] { stop.request_stop(); });
  EXPECT_TRUE(absl::IsCancelled((*stream)->Read(std::span(ten).first(5))));
}

TEST_F(ClientTest, AStopBeforeTheRequestEndsIt) {
  ServeBlob("x");
  HttpClient http(*client_party_.tls, options_);
  const std::stop_source stop;
  stop.request_stop();
  EXPECT_TRUE(
      absl::IsCancelled(http.Do(server_endpoint_, {.target = "/"}, stop.get_token()).status()));
  ASSERT_TRUE(http.Do(server_endpoint_, {.target = "/"}, {}).ok());
  EXPECT_TRUE(
      absl::IsCancelled(http.Do(server_endpoint_, {.target = "/"}, stop.get_token()).status()));
}

TEST_F(ClientTest, NobodyListeningIsUnavailable) {
  const UniqueFd bound(
      socket(AF_INET, SOCK_STREAM, 0));  // a port that is taken and does not listen
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(bound.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  HttpClient http(*client_party_.tls, options_);
  const Status status =
      http.Do({"127.0.0.1", LocalPort(bound.get())}, {.target = "/"}, {}).status();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_NE(std::string(status.message()).find("refused"), std::string::npos) << status;
}

TEST_F(ClientTest, ANameIsLookedUp) {
  ServeBlob("x");
  HttpClient http(*client_party_.tls, options_);
  const auto response = http.Do({"localhost", server_endpoint_.port}, {.target = "/"}, {});
  ASSERT_TRUE(response.ok()) << response.status();
}

TEST_F(ClientTest, ATargetThatWouldBreakOutOfItsLineIsRefused) {
  ServeBlob("x");
  HttpClient http(*client_party_.tls, options_);
  for (const char* target : {"", "x", "/a b", "/\r\nX: y", "/\n"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(http.Do(server_endpoint_, {.target = target}, {}).status()))
        << target;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      http.Do(server_endpoint_, {.target = "/", .headers = {{"a", "b\r\nc: d"}}}, {}).status()));
}

TEST_F(ClientTest, ABodyThatFailsBeforeItsFirstByteIsAnsweredWithItsError) {
  StartServer(LocalOptions(), [](const HttpRequest&, const std::stop_token&) {
    return HttpResponse{.body = StreamedBody{100, [](BodySink&, const std::stop_token&) -> Status {
                                               return WithCode(absl::NotFoundError("gone"), "gone");
                                             }}};
  });
  HttpClient http(*client_party_.tls, options_);
  EXPECT_EQ(StableCode(http.Open(server_endpoint_, {.target = "/"}, {}).status()), "gone");
}

TEST_F(ClientTest, ABodyOfAnotherLengthThanAnnouncedEndsTheConnection) {
  StartServer(LocalOptions(), [](const HttpRequest& request, const std::stop_token&) {
    const std::string bytes(request.path == "/short" ? 50 : 150, 'x');
    return HttpResponse{.body = StreamedBody{100, [bytes](BodySink& sink, const std::stop_token&) {
                                               return sink.Write(AsBytes(bytes));
                                             }}};
  });
  HttpClient http(*client_party_.tls, options_);
  EXPECT_TRUE(absl::IsUnavailable(http.Do(server_endpoint_, {.target = "/short"}, {}).status()));
  EXPECT_FALSE(http.Do(server_endpoint_, {.target = "/long"}, {}).ok());
}

TEST_F(ClientTest, AStreamedBodyArrivesWhole) {
  const std::string blob = Pattern(3'000'000);
  StartServer(LocalOptions(), [&](const HttpRequest&, const std::stop_token&) {
    return HttpResponse{
        .body = StreamedBody{blob.size(), [&](BodySink& sink, const std::stop_token&) -> Status {
                               for (std::size_t at = 0; at < blob.size(); at += 100'000) {
                                 RETURN_IF_ERROR(sink.Write(AsBytes(blob).subspan(at, 100'000)));
                               }
                               return absl::OkStatus();
                             }}};
  });
  const auto response = Get(client_party_);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_TRUE(response->body == blob);
}

}  // namespace
}  // namespace starling
