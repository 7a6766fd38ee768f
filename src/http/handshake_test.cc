#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <string>
#include <thread>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gtest/gtest.h"
#include "http/http_testing.h"
#include "http/socket.h"
#include "openssl/ssl.h"

namespace starling {
namespace {

using ContextPtr = Owned<SSL_CTX, &SSL_CTX_free>;
using ConnectionPtr = Owned<SSL, &SSL_free>;

// A TLS client that is not ours: OpenSSL as it comes.
struct ForeignClient {
  std::shared_ptr<const Svid> svid;  // null: shows none
  int version = TLS1_3_VERSION;
  std::string alpn;  // in wire form
};
// What it reads after a request for "/", "" when it is refused at any point.
std::string AskAs(const ForeignClient& client, std::uint16_t port) {
  const ContextPtr context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_max_proto_version(context.get(), client.version);
  const ConnectionPtr ssl(SSL_new(context.get()));
  if (client.svid)
    SSL_use_cert_and_key(ssl.get(), client.svid->chain[0].get(), client.svid->key.get(), nullptr,
                         1);
  SSL_set_alpn_protos(ssl.get(), reinterpret_cast<const unsigned char*>(client.alpn.data()),
                      static_cast<unsigned>(client.alpn.size()));
  const auto socket = ConnectSocket("127.0.0.1", port, MomentIn(60s), {});
  if (!socket.ok()) return {};
  const int flags = fcntl(socket->get(), F_GETFL);
  fcntl(socket->get(), F_SETFL, flags & ~O_NONBLOCK);
  SSL_set_fd(ssl.get(), socket->get());
  constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  if (SSL_connect(ssl.get()) != 1 ||
      SSL_write(ssl.get(), kRequest.data(), static_cast<int>(kRequest.size())) <= 0) {
    return {};
  }
  std::string answer;
  char block[4096];
  for (int count = 0; (count = SSL_read(ssl.get(), block, sizeof block)) > 0;) {
    answer.append(block, static_cast<std::size_t>(count));
  }
  return answer;
}

class HandshakeTest : public HttpsTest {
 protected:
  void SetUp() override { StartServer(LocalOptions(), SayPeer); }
  // A client with this state, wanting an SN.
  Party Client(std::shared_ptr<const IdentityState> state) {
    return {clock_, std::move(state), Networks()};
  }
};

TEST_F(HandshakeTest, BothSidesKnowEachOther) {
  const auto response = Get(client_party_);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "spiffe://swarm.local/swarm/sl");
  ASSERT_TRUE(response->peer.has_value());
  EXPECT_EQ(response->peer->text(), "spiffe://swarm.local/swarm/sn");
}

TEST_F(HandshakeTest, AClientWithoutACertificateIsRefused) {
  EXPECT_EQ(AskAs({}, server_->port()), "");
  EXPECT_TRUE(Get(client_party_).ok());
  EXPECT_EQ(AwaitRefused("no-certificate"), 1U);
  const HttpServer::Refused refused = server_->refused_peers(3600s);
  ASSERT_EQ(refused.peers.size(), 1U);
  EXPECT_EQ(refused.peers[0].code, "no-certificate");
}

TEST_F(HandshakeTest, ValidityIsThatOfTheGivenClock) {
  clock_.Advance(std::chrono::hours(2));
  const auto response = Get(client_party_);
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(StableCode(response.status()), "expired");
  clock_.SetUtc(clock_.UtcNow() - std::chrono::hours(2));
  EXPECT_TRUE(Get(client_party_).ok());
}

TEST_F(HandshakeTest, TheNextHandshakeShowsTheNewCertificate) {
  HttpClient http(*client_party_.tls, PatientOptions());
  const auto ask = [&] { return http.Do(server_endpoint_, {.target = "/"}, {}); };
  const auto before = ask();
  ASSERT_TRUE(before.ok()) << before.status();
  server_party_.source.Set(MakeState(clock_, authority_, {&authority_}, {.path = "/rotated/sn"}));
  client_party_.source.Set(MakeState(clock_, authority_, {&authority_}, {.path = "/rotated/sl"}));
  const auto same_connection = ask();
  ASSERT_TRUE(same_connection.ok()) << same_connection.status();
  EXPECT_EQ(same_connection->body, "spiffe://swarm.local/swarm/sl");
  const auto rotated = Get(client_party_);
  ASSERT_TRUE(rotated.ok()) << rotated.status();
  EXPECT_EQ(rotated->body, "spiffe://swarm.local/rotated/sl");
  EXPECT_EQ(rotated->peer->text(), "spiffe://swarm.local/rotated/sn");
}

TEST_F(HandshakeTest, AConnectionDoesNotOutliveTheCertificatesItBeganWith) {
  HttpClient http(*client_party_.tls, PatientOptions());
  ASSERT_TRUE(http.Do(server_endpoint_, {.target = "/"}, {}).ok());
  clock_.Advance(std::chrono::hours(2));
  server_party_.source.Set(MakeState(clock_, authority_, {&authority_}, {.path = "/rotated/sn"}));
  client_party_.source.Set(MakeState(clock_, authority_, {&authority_}, {.path = "/rotated/sl"}));
  const auto response = http.Do(server_endpoint_, {.target = "/"}, {});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->body, "spiffe://swarm.local/rotated/sl");
}

// A state that believes in our authority and has nothing to show.
std::shared_ptr<const IdentityState> Nameless(const DevAuthority& believed) {
  auto state = std::make_shared<IdentityState>();
  state->bundles[believed.trust_domain()] = believed.bundle();
  return state;
}

TEST_F(HandshakeTest, AServerWithoutAnIdentityRefusesAndRecoversAlone) {
  const std::shared_ptr<const IdentityState> given = server_party_.source.Current();
  for (const std::uint64_t before : {0U, 1U}) {  // none at first, and one that is withdrawn
    server_party_.source.Set(Nameless(authority_));

    const Status refused = Get(client_party_).status();

    EXPECT_EQ(StableCode(refused), "peer-no-identity") << refused;
    EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
    EXPECT_EQ(AwaitRefused("no-identity", before + 1), before + 1);
    server_party_.source.Set(given);
    const auto response = Get(client_party_);
    EXPECT_TRUE(response.ok()) << response.status();
  }
  EXPECT_TRUE(server_->refused_peers(3600s).peers.empty());  // The peer did nothing wrong.
}

TEST_F(HandshakeTest, AClientWithoutAnIdentitySaysSoAndBothersNobody) {
  const std::shared_ptr<const IdentityState> given = client_party_.source.Current();
  client_party_.source.Set(Nameless(authority_));

  const Status status = Get(client_party_).status();

  EXPECT_EQ(StableCode(status), "no-identity") << status;
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_NE(std::string(status.message()).find("this node has no certificate"), std::string::npos)
      << status;
  EXPECT_NE(NextStep(status), "");
  EXPECT_EQ(server_->counters().connections, 0U);
  client_party_.source.Set(given);
  EXPECT_TRUE(Get(client_party_).ok());
}

TEST_F(HandshakeTest, AConnectionThatStandsGoesOnWhenTheIdentitiesAreWithdrawn) {
  HttpClient http(*client_party_.tls, PatientOptions());
  ASSERT_TRUE(http.Do(server_endpoint_, {.target = "/"}, {}).ok());

  server_party_.source.Set(Nameless(authority_));
  client_party_.source.Set(Nameless(authority_));

  for (int i = 0; i < 3; ++i) {
    const auto response = http.Do(server_endpoint_, {.target = "/"}, {});
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, "spiffe://swarm.local/swarm/sl");
  }
  clock_.Advance(std::chrono::hours(2));  // until the certificates end
  EXPECT_EQ(StableCode(http.Do(server_endpoint_, {.target = "/"}, {}).status()), "no-identity");
}

TEST_F(HandshakeTest, AForeignClientWithALPNIsServed) {
  const auto svid = client_party_.source.Current()->svid;
  const std::string answer =
      AskAs({.svid = svid, .alpn = std::string("\x02h2\x08http/1.1", 12)}, server_->port());
  EXPECT_NE(answer.find("spiffe://swarm.local/swarm/sl"), std::string::npos) << answer;
}

TEST_F(HandshakeTest, AForeignClientWithoutALPNIsServed) {
  const auto svid = client_party_.source.Current()->svid;
  const std::string answer = AskAs({.svid = svid, .alpn = ""}, server_->port());
  EXPECT_NE(answer.find("spiffe://swarm.local/swarm/sl"), std::string::npos) << answer;
}

TEST_F(HandshakeTest, OlderTlsIsRefused) {
  const auto svid = client_party_.source.Current()->svid;
  EXPECT_EQ(AskAs({.svid = svid, .version = TLS1_2_VERSION}, server_->port()), "");
  EXPECT_EQ(AwaitRefused("tls-version"), 1U);
}

TEST_F(HandshakeTest, PlainHttpIsRefused) {
  const auto stream = Stream::ConnectPlain("127.0.0.1", server_->port(), 60s, 60s, {});
  ASSERT_TRUE(stream.ok()) << stream.status();
  ASSERT_TRUE((*stream)->WriteAll(AsBytes("GET / HTTP/1.1\r\nHost: a\r\n\r\n")).ok());
  EXPECT_EQ(ReadToEnd(**stream).find("HTTP/1.1 200"), std::string::npos);
  EXPECT_TRUE(Get(client_party_).ok());
  EXPECT_EQ(AwaitRefused("not-tls"), 1U);
}

TEST_F(HandshakeTest, AClientSaysWhenTheOtherSideSpeaksNoTls) {
  const auto plain = HttpServer::Start(LocalOptions(), nullptr, SayPeer, Log());
  ASSERT_TRUE(plain.ok());
  const auto stream =
      Stream::Connect("127.0.0.1", (*plain)->port(), *client_party_.tls, 60s, 60s, {});
  ASSERT_FALSE(stream.ok());
  EXPECT_EQ(StableCode(stream.status()), "not-tls");
}

TEST_F(HandshakeTest, WhoClosesRightAwayIsSaidToHaveRefusedUs) {
  const auto listener = ListenSocket("127.0.0.1", 0);
  ASSERT_TRUE(listener.ok());
  const std::jthread closer([&] {
    ASSERT_TRUE(WaitReady(listener->get(), POLLIN, MomentIn(60s)).ok());
    const UniqueFd accepted(accept(listener->get(), nullptr, nullptr));
  });
  const auto stream =
      Stream::Connect("127.0.0.1", LocalPort(listener->get()), *client_party_.tls, 60s, 60s, {});
  ASSERT_FALSE(stream.ok());
  EXPECT_EQ(StableCode(stream.status()), "refused-by-peer");
  EXPECT_NE(std::string(stream.status().message()).find("probably refused our certificate"),
            std::string::npos);
}

TEST_F(HandshakeTest, ASilentClientIsRefusedInTime) {
  HttpServerOptions options = LocalOptions();
  options.handshake_timeout = 50ms;
  StartServer(options, SayPeer);
  const auto stream = Stream::ConnectPlain("127.0.0.1", server_->port(), 60s, 60s, {});
  ASSERT_TRUE(stream.ok());
  EXPECT_EQ(ReadToEnd(**stream), "");
  EXPECT_EQ(AwaitRefused("too-slow"), 1U);
}

TEST_F(HandshakeTest, ASilentServerIsGivenUp) {
  const auto listener = ListenSocket("127.0.0.1", 0);  // The kernel connects, nobody answers.
  ASSERT_TRUE(listener.ok());
  const auto stream =
      Stream::Connect("127.0.0.1", LocalPort(listener->get()), *client_party_.tls, 50ms, 60s, {});
  ASSERT_FALSE(stream.ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(stream.status())) << stream.status();
}

class LoggedHandshakeTest : public HandshakeTest {
 protected:
  void SetUp() override {
    HandshakeTest::SetUp();
    auto logged = HttpServer::Start(LocalOptions(), server_party_.tls.get(), SayPeer,
                                    Log::ToFile("test", LogLevel::kInfo, LogFormat::kText, path_));
    ASSERT_TRUE(logged.ok());
    server_ = *std::move(logged);
    server_endpoint_.port = server_->port();
  }
  const ScratchDirectory scratch_;
  const std::string path_ = scratch_.File("log");
};

TEST_F(LoggedHandshakeTest, WhoGivesUpIsCountedAndNoWarning) {
  {
    const auto stream = Stream::ConnectPlain("127.0.0.1", server_->port(), 60s, 60s, {});
    ASSERT_TRUE(stream.ok());
  }
  EXPECT_EQ(AwaitRefused("handshake-broken"), 1U);
  server_->Stop();
  EXPECT_NE(ReadFile(path_)->find("INFO : refused 127.0.0.1:"), std::string::npos);
  EXPECT_EQ(ReadFile(path_)->find("WARNING"), std::string::npos);
}

TEST_F(LoggedHandshakeTest, RefusalsAreLoggedWithTheReason) {
  Party client = Client(MakeState(clock_, authority_, {&authority_}, {.path = "/swarm/swci"}));
  EXPECT_FALSE(Get(client).ok());
  EXPECT_EQ(AwaitRefused("wrong-path"), 1U);
  server_->Stop();
  const auto text = ReadFile(path_);
  ASSERT_TRUE(text.ok());
  EXPECT_NE(text->find("WARNING : refused 127.0.0.1:"), std::string::npos) << *text;
  EXPECT_NE(text->find("wrong-path"), std::string::npos) << *text;
  EXPECT_NE(text->find("spiffe://swarm.local/swarm/swci"), std::string::npos) << *text;
}

}  // namespace
}  // namespace starling
