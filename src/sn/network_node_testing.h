// For tests of whole network nodes over loopback HTTPS: who asks them, the sites of learning nodes,
// and a node on a thread of its own.
#pragma once

#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <utility>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "base/text.h"
#include "http/http_testing.h"
#include "protocol/progress.h"
#include "sn/network_node.h"
#include "sn/sn_testing.h"

namespace starling {

struct Answer {
  int status = 0;
  Json body;
  std::string text;
  [[nodiscard]] std::string code() const { return body.is_object() ? body.value("code", "") : ""; }
};

// One identity's connections to the SN.
class Caller {
 public:
  Caller(const DevAuthority& authority, const std::string& path, const Clock& clock,
         std::uint16_t port, std::chrono::milliseconds life = 1h)
      : port_(port) {
    auto state = std::make_shared<IdentityState>();
    const UtcTime now = clock.UtcNow();
    state->svid =
        authority.Issue({.path = path, .not_before = now - 1h, .not_after = now + life}).value();
    state->bundles[authority.trust_domain()] = authority.bundle();
    source_ = MakeFixedSource(state);
    tls_ = TlsContext::Create(*source_, PeerPolicy{{}, {"*/sn"}}, clock).value();
    http_ = std::make_unique<HttpClient>(*tls_, HttpClientOptions{});
  }
  Result<ClientResponse> Try(const ClientRequest& request) {
    return http_->Do({"127.0.0.1", port_}, request, {});
  }
  Answer Get(const std::string& target, std::map<std::string, std::string> headers = {}) {
    return Read(Try({.target = target, .headers = std::move(headers), .idle_timeout = 90s}));
  }
  Answer Post(const std::string& target, const Json& body) { return PostText(target, body.dump()); }
  Answer PostText(const std::string& target, const std::string& body) {
    return Read(Try({.method = "POST",
                     .target = target,
                     .headers = {{"content-type", "application/json"}},
                     .body = body}));
  }

 private:
  static Answer Read(const Result<ClientResponse>& response) {
    EXPECT_TRUE(response.ok()) << response.status();
    if (!response.ok()) return {};
    return {response->status, Json::parse(response->body, nullptr, false), response->body};
  }
  std::uint16_t port_;
  std::unique_ptr<SvidSource> source_;
  std::unique_ptr<TlsContext> tls_;
  std::unique_ptr<HttpClient> http_;
};

// Where the learning nodes are asked how they stand: all of them wait for the round.
class Sites {
 public:
  Sites(const DevAuthority& authority, const Clock& clock)
      : party_(clock, MakeState(clock, authority, {&authority}), PeerPolicy{{}, {"*/sn"}}) {
    HttpServerOptions options;
    options.address = "127.0.0.1";
    const auto handle = [](const HttpRequest&, const std::stop_token&) {
      return JsonResponse(ProgressJson(Progress{}));
    };
    server_ = *HttpServer::Start(options, party_.tls.get(), handle, Log());
  }
  [[nodiscard]] std::string url() const { return Endpoint{"127.0.0.1", server_->port()}.Url(); }

 private:
  Party party_;
  std::unique_ptr<HttpServer> server_;
};

// A network node of an authority, started and stopped as often as a test likes. Its state stays.
class NodeThread {
 public:
  NodeThread(const DevAuthority& authority, const Clock& clock)
      : clock_(clock),
        source_(MakeFixedSource(MakeState(clock, authority, {&authority}, {.path = "/swarm/sn"}))) {
    config.state_dir = scratch_.path() + "/state";
    config.listen_address = "127.0.0.1";
    config.advertise_host = "127.0.0.1";
    config.api_port = config.health_port = 0;
    config.allow_loopback = true;
  }
  ~NodeThread() { static_cast<void>(Stop()); }
  NodeThread(const NodeThread&) = delete;
  NodeThread& operator=(const NodeThread&) = delete;

  // Returns at once; Started() waits.
  void Begin() {
    auto ready = std::make_shared<std::promise<bool>>();
    ready_ = ready->get_future();
    const Log log = Log::ToFile("swarm.SN", LogLevel::kDebug, LogFormat::kText, log_path());
    thread_ = std::jthread([this, ready, log](const std::stop_token& stop) {
      bool said = false;
      const auto on_ready = [&](std::uint16_t api, std::uint16_t health) {
        api_port_ = api;
        health_port_ = health;
        // The next start takes the same ports: others know them.
        config.api_port = api;
        config.health_port = health;
        said = true;
        ready->set_value(true);
      };
      const NetworkNodeConfig config_now = config;
      ended_ = RunNetworkNode(config_now, {clock_, random_, *source_, log, on_ready}, stop);
      if (!said) ready->set_value(false);
    });
  }
  bool Started() { return ready_.get(); }
  bool Start() {
    Begin();
    return Started();
  }
  Status Stop() {
    if (thread_.joinable()) thread_.request_stop();
    return Ended();
  }
  // Waits until it ends by itself.
  Status Ended() {
    if (thread_.joinable()) thread_.join();
    return ended_;
  }
  void CopyLedgerTo(const std::string& path) const {
    std::filesystem::copy_file(ledger_path(), path,
                               std::filesystem::copy_options::overwrite_existing);
  }
  [[nodiscard]] std::string ledger_path() const { return config.state_dir + "/ledger.db"; }
  [[nodiscard]] std::string log_path() const { return scratch_.path() + "/log.txt"; }
  [[nodiscard]] std::string LogText() const { return ReadFile(log_path(), 10U << 20).value_or(""); }
  [[nodiscard]] Endpoint endpoint() const { return {"127.0.0.1", api_port_}; }
  [[nodiscard]] ClientResponse Health(const std::string& page) const {
    Result<ClientResponse> answer = PlainGet({"127.0.0.1", health_port_}, page, 60s, {});
    EXPECT_TRUE(answer.ok()) << answer.status();
    return answer.value_or(ClientResponse{});
  }

  NetworkNodeConfig config;

 private:
  const ScratchDirectory scratch_;
  const Clock& clock_;
  SystemRandom random_;
  const std::unique_ptr<SvidSource> source_;
  std::uint16_t api_port_ = 0, health_port_ = 0;
  std::future<bool> ready_;
  Status ended_;
  std::jthread thread_;
};

// A port on which nobody listens for the moment.
inline std::uint16_t UnusedPort() {
  const UniqueFd bound = *ListenSocket("127.0.0.1", 0);
  return LocalPort(bound.get());
}

}  // namespace starling
