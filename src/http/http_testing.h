// For tests of HTTP over mutual TLS: identities made on the spot, servers on free ports, and raw
// clients that misbehave.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "http/client.h"
#include "http/server.h"
#include "http/socket.h"
#include "identity/dev_authority.h"

namespace starling {

inline DevAuthority MakeAuthority(const std::string& trust_domain, const Clock& clock) {
  Result<DevAuthority> made = DevAuthority::InMemory(trust_domain, clock.UtcNow());
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

// A source whose state a test may replace at any time.
class SettableSource final : public SvidSource {
 public:
  explicit SettableSource(std::shared_ptr<const IdentityState> state) : state_(std::move(state)) {}
  [[nodiscard]] std::shared_ptr<const IdentityState> Current() const override {
    const std::scoped_lock lock(mutex_);
    return state_;
  }
  [[nodiscard]] SourceReport Report() const override { return {.source = "a test"}; }
  [[nodiscard]] Status AwaitIdentity(Duration /*span*/,
                                     const std::stop_token& /*stop*/) const override {
    return absl::OkStatus();
  }
  void Set(std::shared_ptr<const IdentityState> state) {
    const std::scoped_lock lock(mutex_);
    state_ = std::move(state);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const IdentityState> state_;
};

struct StateSpec {
  std::string path = "/swarm/sl";
  Duration valid_from = -std::chrono::hours(1);  // from the clock's present on
  Duration valid_for = std::chrono::hours(1);
};
// An SVID of `issuer`, believing the authorities in `trusted`.
inline std::shared_ptr<const IdentityState> MakeState(
    const Clock& clock, const DevAuthority& issuer, const std::vector<const DevAuthority*>& trusted,
    const StateSpec& spec = {}) {
  auto state = std::make_shared<IdentityState>();
  DevAuthority::Request request;
  request.path = spec.path;
  request.not_before =
      clock.UtcNow() + std::chrono::duration_cast<std::chrono::milliseconds>(spec.valid_from);
  request.not_after =
      clock.UtcNow() + std::chrono::duration_cast<std::chrono::milliseconds>(spec.valid_for);
  auto svid = issuer.Issue(request);
  EXPECT_TRUE(svid.ok()) << svid.status();
  state->svid = *std::move(svid);
  for (const DevAuthority* authority : trusted)
    state->bundles[authority->trust_domain()] = authority->bundle();
  return state;
}

// One party: its identity and the TLS context over it.
struct Party {
  Party(const Clock& clock, std::shared_ptr<const IdentityState> state, PeerPolicy policy)
      : source(std::move(state)),
        tls(TlsContext::Create(source, std::move(policy), clock).value()) {}
  SettableSource source;
  std::unique_ptr<TlsContext> tls;
};

// A server of SN "/swarm/sn" and a client "/swarm/sl" that like each other; tests replace what they
// need.
class HttpsTest : public ::testing::Test {
 protected:
  static PeerPolicy Learners() { return {{}, {"*/sl"}}; }
  static PeerPolicy Networks() { return {{}, {"*/sn"}}; }

  // Patient: on a busy machine anything may take seconds, and that is not what these tests are
  // about.
  static HttpServerOptions LocalOptions() {
    HttpServerOptions options;
    options.address = "127.0.0.1";
    options.handshake_timeout = options.header_timeout = options.body_timeout = 60s;
    return options;
  }
  static HttpClientOptions PatientOptions() {
    HttpClientOptions options;
    options.connect_timeout = options.idle_timeout = 60s;
    return options;
  }
  void StartServer(const HttpServerOptions& options, HttpHandler handler) {
    auto started = HttpServer::Start(options, server_party_.tls.get(), std::move(handler), Log());
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    server_endpoint_ = {"127.0.0.1", server_->port()};
  }
  static HttpResponse SayPeer(const HttpRequest& request, const std::stop_token& /*stop*/) {
    return TextResponse(request.peer ? request.peer->text() : "nobody");
  }
  // The whole answer to one GET by a client of its own.
  [[nodiscard]] Result<ClientResponse> Get(Party& client, const std::string& target = "/") const {
    HttpClient http(*client.tls, PatientOptions());
    return http.Do(server_endpoint_, {.target = target}, {});
  }
  [[nodiscard]] std::unique_ptr<Stream> ConnectRaw() {
    auto stream = Stream::Connect("127.0.0.1", server_->port(), *client_party_.tls, 60s, 60s, {});
    EXPECT_TRUE(stream.ok()) << stream.status();
    return stream.ok() ? *std::move(stream) : nullptr;
  }
  // Everything until the other side ends, orderly or not.
  static std::string ReadToEnd(Stream& stream) {
    std::string text;
    char block[4096];
    for (;;) {
      const auto count = stream.ReadSome(std::as_writable_bytes(std::span(block)));
      if (!count.ok() || *count == 0) return text;
      text.append(block, *count);
    }
  }
  // Sends `bytes` and answers all that comes back until the server closes.
  std::string Raw(const std::string& bytes) {
    const std::unique_ptr<Stream> stream = ConnectRaw();
    if (!stream) return {};
    static_cast<void>(stream->WriteAll(AsBytes(bytes)));
    return ReadToEnd(*stream);
  }
  [[nodiscard]] std::uint64_t Refused(const std::string& code) const {
    const std::map<std::string, std::uint64_t> refused = server_->counters().refused;
    const auto found = refused.find(code);
    return found == refused.end() ? 0 : found->second;
  }
  // What a client sees refused is counted a moment later: waits for as many.
  [[nodiscard]] std::uint64_t AwaitRefused(const std::string& code, std::uint64_t count = 1) const {
    const Moment until = MomentIn(30s);
    while (Refused(code) < count && MomentNow() < until) std::this_thread::yield();
    return Refused(code);
  }

  ManualClock clock_;
  DevAuthority authority_ = MakeAuthority("swarm.local", clock_);
  Party server_party_{clock_, MakeState(clock_, authority_, {&authority_}, {.path = "/swarm/sn"}),
                      Learners()};
  Party client_party_{clock_, MakeState(clock_, authority_, {&authority_}), Networks()};
  std::unique_ptr<HttpServer> server_;
  Endpoint server_endpoint_;
};

}  // namespace starling
