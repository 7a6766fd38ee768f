#include "sn/network_node.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

#include "base/fs.h"
#include "base/mailbox.h"
#include "base/text.h"
#include "http/async_requests.h"
#include "http/client.h"
#include "http/tls.h"
#include "ledger/ledger.h"
#include "sn/api.h"
#include "sn/core.h"
#include "sn/feed.h"
#include "sn/health.h"
#include "sn/wait_reporter.h"

namespace starling {
namespace {

constexpr Duration kTick = 500ms;  // the longest the loop sleeps
constexpr Duration kBreath =
    10ms;  // the shortest: a decider that always says "now" must not burn a core
constexpr std::size_t kUuidBytesMax = 64;
constexpr std::size_t kProbesAtOnce = 32;

std::vector<std::string> OrDefault(std::vector<std::string> given,
                                   std::vector<std::string> fallback) {
  return given.empty() ? std::move(fallback) : std::move(given);
}

// Members are declared so that the servers, which use everything else, go first.
class NetworkNode {
 public:
  NetworkNode(const NetworkNodeConfig& config, const NetworkNodeDeps& deps)
      : config_(config),
        deps_(deps),
        log_(deps.log.Named("swarm.SN")),
        ledger_log_(deps.log.Named("swarm.blCnt")),
        health_({deps.clock, deps.identity, feed_}) {}
  ~NetworkNode() {
    // The API server uses the core and the API, the health server asks the API server: each lets go
    // before the other dies.
    health_.SetStopping();
    api_server_.reset();
    probes_.reset();
  }
  NetworkNode(const NetworkNode&) = delete;
  NetworkNode& operator=(const NetworkNode&) = delete;

  Status Start();
  void Run(const std::stop_token& stop);

 private:
  [[nodiscard]] PeerPolicy Policy(std::vector<std::string> paths) const {
    return {config_.trust_domains, std::move(paths)};
  }
  [[nodiscard]] std::uint16_t AdvertisedPort() const {
    return config_.advertise_port != 0 ? config_.advertise_port : api_server_->port();
  }
  Status StartServers();
  Status OpenLedger();
  Result<std::string> LoadUuid();
  void Ask(const Probe& probe);
  [[nodiscard]] HttpResponse HandleApi(const HttpRequest& request, const std::stop_token& stop);

  const NetworkNodeConfig& config_;
  const NetworkNodeDeps& deps_;
  const Log log_;
  const Log ledger_log_;
  Feed feed_;
  Bell decided_;  // the time to wake at may be another one
  std::optional<SigningKey> key_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<SnCore> core_;
  std::unique_ptr<TlsContext> tls_;
  std::unique_ptr<TlsContext> probe_tls_;
  std::unique_ptr<HttpClient> probe_client_;
  std::unique_ptr<AsyncRequests> probes_;  // after the core, which its threads call
  SnHealth health_;
  std::unique_ptr<SnApi> api_;
  std::atomic<SnApi*> open_api_ = nullptr;  // set once everything is ready
  std::unique_ptr<HttpServer> api_server_;
  std::unique_ptr<HealthServer> health_server_;
};

// Under the core's lock: only queued here.
void NetworkNode::Ask(const Probe& probe) {
  static_cast<void>(probes_->Ask(Endpoint::ParsePeer(probe.url, config_.allow_loopback),
                                 {.target = StrCat("/v1/progress/", probe.instance.value())},
                                 [this, id = probe.id](const Result<nlohmann::json>& answer) {
                                   core_->OnProbe(id, ProbeAnswerOf(answer));
                                 }));
}

HttpResponse NetworkNode::HandleApi(const HttpRequest& request, const std::stop_token& stop) {
  if (SnApi* api = open_api_.load(); api != nullptr) return api->Handle(request, stop);
  return ProblemResponse(
      WithNext(WithCode(absl::UnavailableError("this SN is starting"), "starting"),
               "ask again in a second"));
}

Status NetworkNode::StartServers() {
  ASSIGN_OR_RETURN(
      health_server_,
      HealthServer::Start({config_.listen_address, config_.health_port}, health_.Pages(), log_));

  std::vector<std::string> paths;
  for (const auto* list : {&config_.sl_paths, &config_.sn_paths, &config_.operator_paths}) {
    paths.insert(paths.end(), list->begin(), list->end());
  }
  ASSIGN_OR_RETURN(tls_, TlsContext::Create(deps_.identity, Policy(std::move(paths)), deps_.clock));
  HttpServerOptions secure = config_.http;
  secure.address = config_.listen_address;
  secure.port = config_.api_port;
  const auto api = [this](const HttpRequest& request, const std::stop_token& stop) {
    return HandleApi(request, stop);
  };
  Result<std::unique_ptr<HttpServer>> api_server = HttpServer::Start(secure, tls_.get(), api, log_);
  RETURN_IF_ERROR(
      WithNext(Annotate(api_server.status(), "API port"), "choose another with --sn-api-port"));
  api_server_ = *std::move(api_server);
  return absl::OkStatus();
}

Result<std::string> NetworkNode::LoadUuid() {
  const std::string path = config_.state_dir + "/uuid";
  if (Result<std::string> kept = ReadFile(path, kUuidBytesMax); kept.ok()) {
    while (kept->ends_with('\n')) kept->pop_back();
    return kept;
  }
  const std::string uuid = UuidOfKey(StrCat(deps_.random.Next(), "-", deps_.random.Next()));
  RETURN_IF_ERROR(WriteFileDurably(path, uuid + "\n"));
  return uuid;
}

Status NetworkNode::OpenLedger() {
  ASSIGN_OR_RETURN(probe_tls_,
                   TlsContext::Create(deps_.identity, Policy(config_.sl_paths), deps_.clock));
  HttpClientOptions within;
  within.connect_timeout = within.idle_timeout = kProbeLimit;
  probe_client_ = std::make_unique<HttpClient>(*probe_tls_, within);
  probes_ = std::make_unique<AsyncRequests>(*probe_client_, kProbesAtOnce);
  ASSIGN_OR_RETURN(SigningKey key,
                   SigningKey::LoadOrCreate(config_.state_dir + "/ledger-key.pem", deps_.random));
  key_.emplace(std::move(key));
  ASSIGN_OR_RETURN(ledger_, OpenEmbeddedLedger(config_.state_dir + "/ledger.db", deps_.clock));
  health_.SetStage("replaying the ledger");
  const auto kick = [this] { decided_.Ring(); };
  ASSIGN_OR_RETURN(core_,
                   SnCore::Open({.decider = config_.decider, .auto_create = config_.auto_create},
                                {*ledger_, deps_.clock, *key_, feed_, log_, kick,
                                 [this](const Probe& probe) { Ask(probe); }}));
  if (ledger_->End().position >= 0) return core_->CheckJoined();
  log_.Info("first node: creating the ledger");
  ASSIGN_OR_RETURN(const NodeName name, ParseNodeName(config_.name));
  const std::string url = Endpoint{config_.advertise_host, AdvertisedPort()}.Url();
  return core_->CreateLedger(name, url);
}

Status NetworkNode::Start() {
  ledger_log_.Info("Setting up blockchain layer for the swarm node: START");
  RETURN_IF_ERROR(Annotate(MakeDirectories(config_.state_dir, 0700), "state directory"));
  RETURN_IF_ERROR(StartServers());
  health_.SetStage("opening the ledger");
  RETURN_IF_ERROR(OpenLedger());
  ASSIGN_OR_RETURN(const std::string uuid, LoadUuid());
  SnApiOptions options{
      .learners = Policy(config_.sl_paths),
      .operators = Policy(config_.operator_paths),
      .self = {config_.name, config_.advertise_host, AdvertisedPort(), uuid, config_.sentinel}};
  api_ = std::make_unique<SnApi>(std::move(options),
                                 SnApi::Deps{deps_.clock, *ledger_, feed_, *core_, log_});
  ledger_log_.Info("Setting up blockchain layer for the swarm node: FINISHED");
  open_api_.store(api_.get());
  health_.SetReady({.ledger = [this] { return core_->health(); },
                    .api = [this] { return api_server_->counters(); },
                    .refused = [this] { return api_->refused(); }});
  if (config_.hpe03_log_form) {
    ledger_log_.Info("Starting SWARM-API-SERVER on port :{}", api_server_->port());
  } else {
    ledger_log_.Info("Starting SWARM-API-SERVER on port: {}", api_server_->port());
  }
  if (deps_.on_ready) deps_.on_ready(api_server_->port(), health_server_->port());
  return absl::OkStatus();
}

void NetworkNode::Run(const std::stop_token& stop) {
  WaitReporter reporter;
  core_->OnTime();  // What was left open when this SN went.
  while (!stop.stop_requested()) {
    const std::optional<Instant> wake_at = core_->wake_at();
    Duration span = kTick;
    if (wake_at) span = std::clamp<Duration>(*wake_at - deps_.clock.Now(), kBreath, kTick);
    if (!decided_.Wait(stop, span) && !stop.stop_requested()) core_->OnTime();
    for (const std::string& text :
         reporter.Due(*feed_.Current(), {deps_.clock.Now(), deps_.clock.UtcNow()})) {
      log_.Info("{}", text);
    }
  }
  log_.Info("stopping");
}

NetworkNodeConfig WithDefaults(NetworkNodeConfig config) {
  config.sl_paths = OrDefault(std::move(config.sl_paths), {"*/sl"});
  config.sn_paths = OrDefault(std::move(config.sn_paths), {"*/sn"});
  config.operator_paths = OrDefault(std::move(config.operator_paths), {"*/operator", "*/swci"});
  return config;
}

}  // namespace

Status RunNetworkNode(const NetworkNodeConfig& config, const NetworkNodeDeps& deps,
                      const std::stop_token& stop) {
  if (!config.sentinel) {
    return WithNext(
        WithCode(absl::UnimplementedError("following SNs come in a later release"), "not-yet"),
        "run this node as the sentinel, and let learning nodes name it as their SN");
  }
  const NetworkNodeConfig complete = WithDefaults(config);
  NetworkNode node(complete, deps);
  RETURN_IF_ERROR(node.Start());
  node.Run(stop);
  return absl::OkStatus();
}

}  // namespace starling
