#include "sn/network_node.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "base/fs.h"
#include "base/mailbox.h"
#include "base/text.h"
#include "http/async_requests.h"
#include "http/client.h"
#include "http/tls.h"
#include "identity/identity_health.h"
#include "ledger/ledger.h"
#include "sn/api.h"
#include "sn/core.h"
#include "sn/feed.h"
#include "sn/follower.h"
#include "sn/health.h"
#include "sn/recovery.h"
#include "sn/wait_reporter.h"

namespace starling {
namespace {

constexpr Duration kTick = 500ms;  // the longest the loop sleeps
constexpr Duration kBreath =
    10ms;  // the shortest: a decider that always says "now" must not burn a core
constexpr std::size_t kUuidBytesMax = 64;
constexpr std::size_t kProbesAtOnce = 32;
constexpr Duration kRecoverAgain = 1s;    // while somebody shows entries that nobody gives
constexpr Duration kRecoverSilence = 5s;  // of a node that is asked for entries
constexpr std::size_t kForwardBytesMax = std::size_t{1} << 20;
constexpr Duration kRefusedLately = 15s;  // a node tries again every 5 s at least
constexpr Duration kCheckLedgerEvery = 3s;
constexpr std::size_t kKidDigits = 8;  // of the name that a key gives

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
        refused_servers_(log_, "the server ", RefusalBook::kServersLogEvery),
        health_({deps.clock, deps.identity, feed_, refused_servers_}) {}
  ~NetworkNode() {
    // The API server uses the core and the API, the health server asks the API server: each lets go
    // before the other dies.
    health_.SetStopping();
    api_server_.reset();
    if (following_.joinable()) {
      following_.request_stop();
      following_.join();
    }
    probes_.reset();
  }
  NetworkNode(const NetworkNode&) = delete;
  NetworkNode& operator=(const NetworkNode&) = delete;

  Status Start(const std::stop_token& stop);
  // Until `stop`, or until this node must not go on.
  Status Run(const std::stop_token& stop);

 private:
  [[nodiscard]] PeerPolicy Policy(std::vector<std::string> paths) const {
    return {config_.trust_domains, std::move(paths)};
  }
  [[nodiscard]] std::uint16_t AdvertisedPort() const {
    return config_.advertise_port != 0 ? config_.advertise_port : api_server_->port();
  }
  [[nodiscard]] std::string Url() const {
    return Endpoint{config_.advertise_host, AdvertisedPort()}.Url();
  }
  Status StartHealthServer();
  // Once there is an identity: who came before would be refused, and told that it is a fault.
  Status StartApiServer();
  Status OpenLedger();
  Status OpenCore();
  Status OpenSentinel(const std::stop_token& stop);
  Status OpenRecovery();
  Status OpenCopy();
  Status Follow(const std::stop_token& stop);
  void StartApi(const std::string& uuid);
  Result<std::string> LoadUuid();
  void Ask(const Probe& probe);
  // Who cannot get in because of a certificate; and that with the ledger's trouble.
  [[nodiscard]] std::vector<Waiting> RefusedNow() const;
  [[nodiscard]] std::vector<Waiting> TroublesNow() const;
  [[nodiscard]] HttpResponse HandleApi(const HttpRequest& request, const std::stop_token& stop);

  const NetworkNodeConfig& config_;
  const NetworkNodeDeps& deps_;
  const Log log_;
  const Log ledger_log_;
  Feed feed_;
  RefusalBook refused_servers_;
  Bell decided_;  // the time to wake at may be another one
  std::optional<SigningKey> key_;
  std::string name_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<SnCore> core_;
  std::unique_ptr<TlsContext> tls_;
  std::unique_ptr<TlsContext> probe_tls_;
  std::unique_ptr<HttpClient> probe_client_;
  std::unique_ptr<AsyncRequests> probes_;  // after the core, which its threads call
  std::unique_ptr<TlsContext> recovery_tls_;
  std::unique_ptr<HttpClient> recovery_client_;
  std::unique_ptr<Recovery> recovery_;  // of the sentinel
  std::unique_ptr<TlsContext> sentinel_tls_;
  std::unique_ptr<HttpClient> tail_client_;
  std::unique_ptr<HttpClient> forward_client_;
  std::unique_ptr<Follower> follower_;  // of a following SN
  SnHealth health_;
  std::unique_ptr<SnApi> api_;
  std::atomic<SnApi*> open_api_ = nullptr;
  std::atomic<bool> started_ = false;
  std::unique_ptr<HttpServer> api_server_;
  std::unique_ptr<HealthServer> health_server_;
  Mailbox<Status> follow_news_{2};  // OK: it has caught up; else it has ended
  std::jthread following_;
};

// Under the core's lock: only queued here.
void NetworkNode::Ask(const Probe& probe) {
  static_cast<void>(probes_->Ask(Endpoint::ParsePeer(probe.url, config_.allow_loopback),
                                 {.target = StrCat("/v1/progress/", probe.instance.value())},
                                 [this, id = probe.id](const Result<nlohmann::json>& answer) {
                                   core_->OnProbe(id, ProbeAnswerOf(answer, deps_.clock.UtcNow()));
                                 }));
}

std::vector<Waiting> NetworkNode::RefusedNow() const {
  const HttpServer::Refused refused = api_server_->refused_peers(kRefusedLately);
  const Instant now = deps_.clock.Now();
  std::vector<Waiting> troubles;
  for (const RefusedPeer& peer : refused.peers) {
    Trouble trouble = TroubleOf(WithCode(absl::UnauthenticatedError(peer.why), peer.code));
    Waiting waiting;
    waiting.what = StrCat("the peer ", peer.host, " cannot get in: ", trouble.what);
    waiting.since = now - (refused.now - peer.first);
    waiting.next = std::move(trouble.next);
    waiting.trouble = true;
    troubles.push_back(std::move(waiting));
  }
  return troubles;
}

std::vector<Waiting> NetworkNode::TroublesNow() const {
  std::vector<Waiting> troubles = RefusedNow();
  const Status ledger = core_->health();
  if (ledger.ok()) return troubles;
  Waiting waiting;
  waiting.what = StrCat("the ledger: ", std::string(ledger.message()), "; entries are refused");
  waiting.since = core_->unhealthy_since();
  waiting.next = NextStep(ledger);
  if (waiting.next.empty()) waiting.next = "it is tried again; look at the disk of this SN";
  waiting.trouble = true;
  troubles.insert(troubles.begin(), std::move(waiting));
  return troubles;
}

HttpResponse NetworkNode::HandleApi(const HttpRequest& request, const std::stop_token& stop) {
  SnApi* const api = open_api_.load();
  // Another SN may need entries from here before either of the two has started.
  const auto is_for_copying = [&] {
    return request.method == "GET" && request.path == "/v1/entries" && request.peer &&
           Policy(config_.sn_paths).Allows(*request.peer);
  };
  if (api != nullptr && (started_.load() || is_for_copying())) return api->Handle(request, stop);
  return ProblemResponse(
      WithNext(WithCode(absl::UnavailableError("this SN is starting"), "starting"),
               "ask again in a second"));
}

Status NetworkNode::StartHealthServer() {
  ASSIGN_OR_RETURN(
      health_server_,
      HealthServer::Start({config_.listen_address, config_.health_port}, health_.Pages(), log_));
  return absl::OkStatus();
}

Status NetworkNode::StartApiServer() {
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
  const std::string uuid = UuidOfKey(key_->kid());  // as other SNs show it
  RETURN_IF_ERROR(WriteFileDurably(path, uuid + "\n"));
  return uuid;
}

Status NetworkNode::OpenLedger() {
  ASSIGN_OR_RETURN(SigningKey key,
                   SigningKey::LoadOrCreate(config_.state_dir + "/ledger-key.pem", deps_.random));
  key_.emplace(std::move(key));
  name_ = config_.name.empty() ? StrCat("sn-", key_->kid().substr(0, kKidDigits)) : config_.name;
  RETURN_IF_ERROR(Annotate(CheckName(name_), "--name"));
  const std::string path = config_.state_dir + "/ledger.db";
  Result<std::unique_ptr<Ledger>> ledger = OpenEmbeddedLedger(path, deps_.clock);
  if (absl::IsDataLoss(ledger.status()) && !config_.sentinel) {
    log_.Warning("{}", ErrorLine(ledger.status(), "sn"));
    ASSIGN_OR_RETURN(const std::int64_t kept, SalvageEmbeddedLedger(path, deps_.clock));
    log_.Warning("this copy goes on from its first {} entries; {}.damaged is the old file", kept,
                 path);
    ledger = OpenEmbeddedLedger(path, deps_.clock);
  }
  RETURN_IF_ERROR(ledger.status());
  ledger_ = *std::move(ledger);
  return absl::OkStatus();
}

Status NetworkNode::OpenCore() {
  health_.SetStage("replaying the ledger");
  const auto kick = [this] { decided_.Ring(); };
  SnCoreOptions options{.decider = config_.decider,
                        .auto_create = config_.auto_create,
                        .orders = config_.sentinel,
                        .hold = {}};
  SnCore::Deps deps{*ledger_, deps_.clock, *key_, feed_, log_, kick, {}};
  if (config_.sentinel) {
    ASSIGN_OR_RETURN(probe_tls_,
                     TlsContext::Create(deps_.identity, Policy(config_.sl_paths), deps_.clock));
    HttpClientOptions within;
    within.refusals = &refused_servers_;
    within.connect_timeout = within.idle_timeout = kProbeLimit;
    probe_client_ = std::make_unique<HttpClient>(*probe_tls_, within);
    probes_ = std::make_unique<AsyncRequests>(*probe_client_, kProbesAtOnce);
    deps.probe = [this](const Probe& probe) { Ask(probe); };
    if (ledger_->End().position >= 0) {
      options.hold = WithNext(
          WithCode(absl::UnavailableError(
                       "the other nodes are asked whether this ledger lacks newer entries"),
                   "catching-up"),
          "this takes a few seconds");
    }
  }
  ASSIGN_OR_RETURN(core_, SnCore::Open(options, deps));
  return absl::OkStatus();
}

// A ledger that is there may be an old copy: nothing is appended before the others were asked.
Status NetworkNode::OpenSentinel(const std::stop_token& stop) {
  if (ledger_->End().position < 0) {
    log_.Info("first node: creating the ledger");
    ASSIGN_OR_RETURN(const NodeName name, ParseNodeName(name_));
    return core_->CreateLedger(name, Url());
  }
  RETURN_IF_ERROR(core_->CheckFounder());
  health_.SetStage("asking the other nodes whether this ledger lacks newer entries");
  recovery_->Run(stop);
  return absl::OkStatus();
}

Status NetworkNode::OpenCopy() {
  FollowerOptions options;
  options.name = NodeName(name_);
  options.api_url = Url();
  for (const std::string& url : config_.sentinel_urls) {
    ASSIGN_OR_RETURN(Endpoint sentinel, Endpoint::Parse(url));
    options.sentinels.push_back(std::move(sentinel));
  }
  ASSIGN_OR_RETURN(sentinel_tls_,
                   TlsContext::Create(deps_.identity, Policy(config_.sn_paths), deps_.clock));
  HttpClientOptions limits;
  limits.refusals = &refused_servers_;
  limits.body_bytes_max = kPageAnswerBytesMax;
  tail_client_ = std::make_unique<HttpClient>(*sentinel_tls_, limits);
  limits.body_bytes_max = kForwardBytesMax;
  forward_client_ = std::make_unique<HttpClient>(*sentinel_tls_, limits);
  follower_ = std::make_unique<Follower>(
      std::move(options),
      Follower::Deps{*core_, feed_, *tail_client_, *forward_client_, deps_.clock, *key_, log_});
  return absl::OkStatus();
}

// Returns once the copy has reached the sentinel's end.
Status NetworkNode::Follow(const std::stop_token& stop) {
  following_ = std::jthread([this](const std::stop_token& own_stop) {
    const Status ended = follower_->Run(
        [this, own_stop] { static_cast<void>(follow_news_.Push(absl::OkStatus(), own_stop)); },
        own_stop);
    if (!ended.ok()) static_cast<void>(follow_news_.Push(ended, own_stop));
  });
  while (!stop.stop_requested()) {
    health_.SetStage(StrCat("copying the ledger; ", follower_->ReadyLine()));
    if (const std::optional<Status> news = follow_news_.Pop(stop, kTick)) return *news;
  }
  return absl::OkStatus();
}

void NetworkNode::StartApi(const std::string& uuid) {
  SnApiOptions options{
      .learners = Policy(config_.sl_paths),
      .operators = Policy(config_.operator_paths),
      .networks = Policy(config_.sn_paths),
      .self = {name_, config_.advertise_host, AdvertisedPort(), uuid, config_.sentinel}};
  SnApi::Deps deps{deps_.clock, *ledger_, feed_, *core_, log_, {}, {}, {}, {}};
  deps.troubles = [this] { return TroublesNow(); };
  if (follower_) {
    deps.upstream = {[this](const HttpRequest& request, const std::stop_token& stop) {
                       return follower_->Forward(request, stop);
                     },
                     [this] { return follower_->upstream(); },
                     [this] { return follower_->sentinel_url(); }};
  } else {
    deps.on_ahead = [this](const ShownPlace& shown, const std::stop_token& stop) {
      recovery_->Shown(shown, stop);
    };
    deps.on_split = [this](const ShownPlace& shown, const Status& why,
                           const std::stop_token& stop) {
      recovery_->Contradicted(shown, why, stop);
    };
  }
  api_ = std::make_unique<SnApi>(std::move(options), deps);
  open_api_.store(api_.get());
}

Status NetworkNode::OpenRecovery() {
  std::vector<std::string> paths = config_.sl_paths;
  paths.insert(paths.end(), config_.sn_paths.begin(), config_.sn_paths.end());
  ASSIGN_OR_RETURN(recovery_tls_,
                   TlsContext::Create(deps_.identity, Policy(std::move(paths)), deps_.clock));
  HttpClientOptions limits;
  limits.refusals = &refused_servers_;
  limits.connect_timeout = kProbeLimit;
  limits.idle_timeout = kRecoverSilence;
  limits.body_bytes_max = kPageAnswerBytesMax;
  recovery_client_ = std::make_unique<HttpClient>(*recovery_tls_, limits);
  RecoveryOptions options;
  options.allow_loopback = config_.allow_loopback;
  options.own_kid = key_->kid();
  recovery_ = std::make_unique<Recovery>(
      std::move(options), Recovery::Deps{*core_, feed_, *recovery_client_, deps_.clock, log_});
  return absl::OkStatus();
}

Status NetworkNode::Start(const std::stop_token& stop) {
  ledger_log_.Info("Setting up blockchain layer for the swarm node: START");
  RETURN_IF_ERROR(Annotate(MakeDirectories(config_.state_dir, 0700), "state directory"));
  RETURN_IF_ERROR(StartHealthServer());
  health_.SetStage("waiting for an identity");
  RETURN_IF_ERROR(WaitForIdentity(deps_.identity, config_.identity_wait, deps_.clock, log_, stop));
  RETURN_IF_ERROR(StartApiServer());
  health_.SetStage("opening the ledger");
  RETURN_IF_ERROR(OpenLedger());
  RETURN_IF_ERROR(OpenCore());
  RETURN_IF_ERROR(config_.sentinel ? OpenRecovery() : OpenCopy());
  ASSIGN_OR_RETURN(const std::string uuid, LoadUuid());
  StartApi(uuid);
  RETURN_IF_ERROR(config_.sentinel ? OpenSentinel(stop) : Follow(stop));
  if (stop.stop_requested()) return absl::OkStatus();
  ledger_log_.Info("Setting up blockchain layer for the swarm node: FINISHED");
  started_.store(true);
  SnHealth::Sources sources;
  sources.ledger = [this] { return core_->health(); };
  sources.ledger_since = [this] { return core_->unhealthy_since(); };
  sources.troubles = [this] { return RefusedNow(); };
  sources.api = [this] { return api_server_->counters(); };
  sources.refused = [this] { return api_->refused(); };
  if (follower_) {
    sources.upstream = [this] { return follower_->upstream(); };
    sources.upstream_line = [this] { return follower_->ReadyLine(); };
  }
  health_.SetReady(std::move(sources));
  if (config_.hpe03_log_form) {
    ledger_log_.Info("Starting SWARM-API-SERVER on port :{}", api_server_->port());
  } else {
    ledger_log_.Info("Starting SWARM-API-SERVER on port: {}", api_server_->port());
  }
  if (deps_.on_ready) deps_.on_ready(api_server_->port(), health_server_->port());
  return absl::OkStatus();
}

Status NetworkNode::Run(const std::stop_token& stop) {
  WaitReporter reporter;
  Instant recover_at{}, check_at{};
  core_->OnTime();  // What was left open when this SN went.
  while (!stop.stop_requested()) {
    const std::optional<Instant> wake_at = core_->wake_at();
    Duration span = kTick;
    if (wake_at) span = std::clamp<Duration>(*wake_at - deps_.clock.Now(), kBreath, kTick);
    if (!decided_.Wait(stop, span) && !stop.stop_requested()) core_->OnTime();
    if (recovery_ && recovery_->due() && deps_.clock.Now() >= recover_at) {
      recovery_->Run(stop);
      recover_at = deps_.clock.Now() + kRecoverAgain;
    }
    if (const std::optional<Status> news = follow_news_.Pop(stop, Duration::zero());
        news && !news->ok())
      return *news;
    for (const std::string& text :
         reporter.Due(*feed_.Current(), {deps_.clock.Now(), deps_.clock.UtcNow()}, TroublesNow())) {
      log_.Info("{}", text);
    }
    if (deps_.clock.Now() >= check_at) {
      core_->CheckLedger();
      check_at = deps_.clock.Now() + kCheckLedgerEvery;
    }
  }
  log_.Info("stopping");
  return absl::OkStatus();
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
  if (!config.sentinel && config.sentinel_urls.empty()) {
    return WithNext(WithCode(absl::InvalidArgumentError(
                                 "this SN is not the sentinel, and no sentinel is named"),
                             "no-sentinel"),
                    "give --sentinel-ip and --sentinel-api-port, or --sentinel to create a ledger");
  }
  const NetworkNodeConfig complete = WithDefaults(config);
  NetworkNode node(complete, deps);
  RETURN_IF_ERROR(node.Start(stop));
  return node.Run(stop);
}

}  // namespace starling
