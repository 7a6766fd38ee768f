// No connection outlives the certificates that it began with, and nobody notices.
#include <array>
#include <atomic>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "base/mailbox.h"
#include "gtest/gtest.h"
#include "http/http_testing.h"

namespace starling {
namespace {

constexpr Duration kLife = 60s;    // of a certificate, on the clock of the tests
constexpr Duration kUsable = 50s;  // of a connection: its last 10 s are in reserve
constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

// A pause that nothing ends early.
void Pause(Duration span) {
  Mailbox<char> nobody;
  static_cast<void>(nobody.Pop({}, span));
}

class AgeTest : public HttpsTest {
 protected:
  AgeTest() { Renew(); }
  // Both parties have new certificates.
  void Renew(Duration life = kLife) {
    server_party_.source.Set(
        MakeState(clock_, authority_, {&authority_}, {.path = "/swarm/sn", .valid_for = life}));
    client_party_.source.Set(MakeState(clock_, authority_, {&authority_}, {.valid_for = life}));
  }
  // All that was shown so far ends; there is something newer before anybody can notice.
  void OutliveAll() {
    Renew(2 * kLife);
    clock_.Advance(kLife);
  }
  // A body of which the first asker gets a half, before `meanwhile`; the others get it whole.
  void ServeHalvesAround(std::function<void()> meanwhile) {
    StartServer(LocalOptions(), [this, meanwhile](const HttpRequest&, const std::stop_token&) {
      const bool first = calls_++ == 0;
      return HttpResponse{
          .body = StreamedBody{2 * half_.size(),
                               [this, first, meanwhile](BodySink& sink, const std::stop_token&) {
                                 Status status = sink.Write(AsBytes(half_));
                                 if (first) meanwhile();
                                 return status.ok() ? sink.Write(AsBytes(half_)) : status;
                               }}};
    });
  }

  const std::string half_ = std::string(100'000, 'x');
  std::atomic<int> calls_ = 0;
};

TEST_F(AgeTest, NoRequestFailsOverManyRotations) {
  std::atomic<int> late = 0;
  StartServer(LocalOptions(), [&](const HttpRequest& request, const std::stop_token&) {
    if (request.time_left == Duration::zero()) ++late;
    return TextResponse("x");
  });
  HttpClient http(*client_party_.tls, PatientOptions());
  constexpr int kSeconds = 600;
  for (int second = 0; second < kSeconds; ++second) {
    if (second % 30 == 0) Renew();
    clock_.Advance(1s);
    const auto response = http.Do(server_endpoint_, {.target = "/"}, {});
    ASSERT_TRUE(response.ok()) << second << ": " << response.status();
  }
  EXPECT_EQ(late.load(), 0);
  // A connection of a certificate that was renewed 20 s ago lasts 30 s.
  EXPECT_GE(server_->counters().connections, kSeconds / 60);
  EXPECT_LE(server_->counters().connections, kSeconds / 20);
  EXPECT_EQ(server_->counters().refused.size(), 0U);
}

TEST_F(AgeTest, AHandlerIsToldHowLongItMayWait) {
  std::vector<Duration> told;
  StartServer(LocalOptions(), [&](const HttpRequest& request, const std::stop_token&) {
    told.push_back(request.time_left);
    return TextResponse("x");
  });
  HttpClient http(*client_party_.tls, PatientOptions());
  ASSERT_TRUE(http.Do(server_endpoint_, {.target = "/"}, {}).ok());
  clock_.Advance(20s);
  ASSERT_TRUE(http.Do(server_endpoint_, {.target = "/"}, {}).ok());
  EXPECT_EQ(told, (std::vector<Duration>{kUsable, kUsable - 20s}));
}

TEST_F(AgeTest, AServerSaysThatLittleIsLeft) {
  StartServer(LocalOptions(), SayPeer);
  const std::unique_ptr<Stream> stream = ConnectRaw();
  ASSERT_NE(stream, nullptr);
  ASSERT_TRUE(stream->WriteAll(AsBytes(kRequest)).ok());
  Bytes answer(4096);
  const auto count = stream->ReadSome(answer);
  ASSERT_TRUE(count.ok()) << count.status();
  EXPECT_EQ(AsText(std::span(answer).first(*count)).find("connection: close"), std::string::npos);

  clock_.Advance(kUsable);
  ASSERT_TRUE(stream->WriteAll(AsBytes(kRequest)).ok());

  EXPECT_NE(ReadToEnd(*stream).find("connection: close"), std::string::npos);
}

TEST_F(AgeTest, ARenewedCertificateEndsNoConnection) {
  StartServer(LocalOptions(), SayPeer);
  HttpClient http(*client_party_.tls, PatientOptions());
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(http.Do(server_endpoint_, {.target = "/"}, {}).ok());
    clock_.Advance(10s);
    Renew();
  }
  EXPECT_EQ(server_->counters().connections, 1U);
}

TEST_F(AgeTest, ARequestAfterTheEndIsNotHandled) {
  ManualClock slow(clock_.UtcNow());  // of the client
  StartServer(LocalOptions(), SayPeer);
  Party client(slow, client_party_.source.Current(), Networks());
  auto stream = Stream::Connect("127.0.0.1", server_->port(), *client.tls, 60s, 60s, {});
  ASSERT_TRUE(stream.ok()) << stream.status();
  clock_.Advance(kLife);
  static_cast<void>((*stream)->WriteAll(AsBytes(kRequest)));
  EXPECT_EQ(ReadToEnd(**stream), "");
  EXPECT_EQ(server_->counters().requests, 0U);
}

TEST_F(AgeTest, AnAnswerIsCutAtTheEndAndAskedForAgain) {
  ServeHalvesAround([this] { OutliveAll(); });
  HttpClient http(*client_party_.tls, PatientOptions());
  const auto response = http.Do(server_endpoint_, {.target = "/"}, {});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_TRUE(response->body == half_ + half_);
  EXPECT_EQ(calls_.load(), 2);
  EXPECT_EQ(AwaitRefused("connection-too-old"), 1U);
}

TEST_F(AgeTest, WhoeverReadsAStreamAsksAgainItself) {
  std::latch opened(1);
  ServeHalvesAround([&] {
    opened.wait();
    OutliveAll();
  });
  HttpClient http(*client_party_.tls, PatientOptions());
  const auto stream = http.Open(server_endpoint_, {.target = "/"}, {});
  opened.count_down();
  ASSERT_TRUE(stream.ok()) << stream.status();
  Bytes body(2 * half_.size());
  const Status cut = (*stream)->Read(body);
  EXPECT_TRUE(absl::IsUnavailable(cut)) << cut;
  EXPECT_EQ(StableCode(cut), "connection-too-old") << cut;
  EXPECT_EQ(calls_.load(), 1);
}

TEST_F(AgeTest, AServerThatCutsBeforeItSaysAnythingIsAskedAgain) {
  ManualClock behind(clock_.UtcNow());
  Party client(behind, client_party_.source.Current(), Networks());
  StartServer(LocalOptions(), [&](const HttpRequest&, const std::stop_token&) {
    if (calls_++ == 0) {
      OutliveAll();
      behind.Advance(kLife - 2s);
      client.source.Set(MakeState(behind, authority_, {&authority_}, {.valid_for = 2 * kLife}));
    }
    return TextResponse("x");
  });
  HttpClient late(*client.tls, PatientOptions());
  const auto response = late.Do(server_endpoint_, {.target = "/"}, {});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(calls_.load(), 2);
}

TEST_F(AgeTest, WhatMayHaveBeenDoneIsNotAskedForAgain) {
  ServeHalvesAround([this] { OutliveAll(); });
  HttpClient http(*client_party_.tls, PatientOptions());
  const Status status = http.Do(server_endpoint_, {.method = "POST", .target = "/"}, {}).status();
  EXPECT_EQ(StableCode(status), "connection-too-old") << status;
  EXPECT_EQ(calls_.load(), 1);
}

TEST_F(AgeTest, AServerWhoseClockIsAheadCutsEarlierAndIsAskedAgain) {
  ManualClock behind(clock_.UtcNow());
  Party client(behind, client_party_.source.Current(), Networks());
  ServeHalvesAround([&] {
    OutliveAll();
    behind.Advance(kLife - 2s);
    client.source.Set(MakeState(behind, authority_, {&authority_}, {.valid_for = 2 * kLife}));
  });
  HttpClient late(*client.tls, PatientOptions());
  const auto response = late.Do(server_endpoint_, {.target = "/"}, {});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_TRUE(response->body == half_ + half_);
}

// With certificates of a few seconds, on the real clock.
class ShortLifeTest : public HttpsTest {
 protected:
  std::shared_ptr<const IdentityState> Short(const std::string& path, Duration life) {
    return MakeState(real_, real_authority_, {&real_authority_}, {.path = path, .valid_for = life});
  }
  void Serve(HttpHandler handler) {
    auto started = HttpServer::Start(LocalOptions(), server_.tls.get(), std::move(handler), Log());
    ASSERT_TRUE(started.ok()) << started.status();
    http_server_ = *std::move(started);
  }
  // On a slow machine a certificate may have ended before it is shown: then there is another one.
  std::unique_ptr<Stream> Connect(Duration life) {
    for (int i = 0; i < 20; ++i) {
      client_.source.Set(Short("/swarm/sl", life));
      auto stream = Stream::Connect("127.0.0.1", http_server_->port(), *client_.tls, 60s, 60s, {});
      if (stream.ok()) return *std::move(stream);
    }
    return nullptr;
  }
  [[nodiscard]] UtcTime ClientEnd() const {
    return NotAfter(*client_.source.Current()->svid->chain.front());
  }

  RealClock real_;
  DevAuthority real_authority_ = MakeAuthority("swarm.local", real_);
  Party server_{real_, Short("/swarm/sn", 3600s), Learners()};
  Party client_{real_, Short("/swarm/sl", 3600s), Networks()};
  std::unique_ptr<HttpServer> http_server_;
};

TEST_F(ShortLifeTest, AReadThatWaitsIsCutAtTheEnd) {
  Serve([](const HttpRequest&, const std::stop_token& stop) {
    Mailbox<char> nobody;
    static_cast<void>(nobody.Pop(stop, 3600s));
    return TextResponse("never");
  });
  const std::unique_ptr<Stream> stream = Connect(3s);
  ASSERT_NE(stream, nullptr);
  static_cast<void>(stream->WriteAll(AsBytes(kRequest)));
  std::array<std::byte, 64> answer{};
  const Status cut = stream->ReadSome(answer).status();
  EXPECT_EQ(StableCode(cut), "connection-too-old") << cut;
  EXPECT_GE(real_.UtcNow(), ClientEnd());
}

TEST_F(ShortLifeTest, AStreamIsCutAtTheEnd) {
  Serve([](const HttpRequest&, const std::stop_token&) {
    return HttpResponse{
        .body = StreamedBody{std::uint64_t{1} << 40, [](BodySink& sink, const std::stop_token&) {
                               const std::string block(10'000, 'x');
                               Status status;
                               while (status.ok()) {
                                 status = sink.Write(AsBytes(block));
                                 Pause(1ms);
                               }
                               return status;
                             }}};
  });
  const std::unique_ptr<Stream> stream = Connect(3s);
  ASSERT_NE(stream, nullptr);
  static_cast<void>(stream->WriteAll(AsBytes(kRequest)));
  Bytes block(100'000);
  Result<std::size_t> count = 1;
  while (count.ok() && *count > 0) count = stream->ReadSome(block);
  // Whoever looks at the clock first, a moment before the other.
  EXPECT_TRUE(absl::IsUnavailable(count.status())) << count.status();
  EXPECT_GE(real_.UtcNow(), ClientEnd());
}

TEST_F(ShortLifeTest, NobodyNoticesThatCertificatesOfSecondsRotate) {
  const std::string blob(5'000'000, 'x');
  Serve([&](const HttpRequest& request, const std::stop_token& stop) {
    if (request.path == "/blob") return TextResponse(blob);
    if (request.path == "/poll") {
      Mailbox<char> nobody;
      static_cast<void>(nobody.Pop(stop, std::min<Duration>(request.time_left, 20s)));
    }
    return TextResponse("x");
  });
  constexpr Duration kSeconds = 6s;
  const auto renew = [&] {
    server_.source.Set(Short("/swarm/sn", kSeconds));
    client_.source.Set(Short("/swarm/sl", kSeconds));
  };
  renew();
  HttpClient http(*client_.tls, PatientOptions());
  std::atomic<bool> done = false;
  std::atomic<int> asked = 0;
  const auto ask = [&](const std::string& target) {
    while (!done) {
      const auto response = http.Do({"127.0.0.1", http_server_->port()}, {.target = target}, {});
      ASSERT_TRUE(response.ok()) << target << ": " << response.status();
      ASSERT_EQ(response->body.size(), target == "/blob" ? blob.size() : 1U);
      ++asked;
      Pause(1ms);
    }
  };
  {
    std::vector<std::jthread> askers;
    for (const char* target : {"/small", "/poll", "/blob"})
      askers.emplace_back([&ask, target] { ask(target); });
    for (int i = 0; i < 8; ++i) {
      Pause(1s);
      renew();
    }
    done = true;
  }
  EXPECT_GT(asked.load(), 10);
  EXPECT_GE(http_server_->counters().connections, 3U);  // at least one a certificate's life
}

}  // namespace
}  // namespace starling
