#include "sl/learning_node.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <utility>

#include "base/fs.h"
#include "base/text.h"
#include "http/async_requests.h"
#include "http/health.h"
#include "http/metrics.h"
#include "identity/identity_health.h"
#include "sl/node_loop.h"

namespace starling {
namespace {

// A merge and its audit need the base and the model before it.
constexpr std::size_t kProbesAtOnce = 16;
constexpr std::size_t kKeepModelsMin = 2;

Result<SnLinkOptions> LinkOptions(const LearningNodeConfig& config) {
  SnLinkOptions options;
  for (const std::string& url : config.sn_urls) {
    ASSIGN_OR_RETURN(Endpoint endpoint, Endpoint::Parse(url));
    options.sns.push_back(std::move(endpoint));
  }
  if (options.sns.empty())
    return WithNext(WithCode(absl::InvalidArgumentError("no SN is named"), "no-sn"),
                    "give --sn-ip (SN_NODE_IP)");
  return options;
}

// A model from elsewhere, held from the start: training begins at its root.
Result<std::optional<Digest>> HoldInitial(const LearningNodeConfig& config, BlobStore& store,
                                          const Log& log) {
  if (config.initial_file.empty()) return std::optional<Digest>();
  ASSIGN_OR_RETURN(const Slice file, MapFile(config.initial_file));
  RETURN_IF_ERROR(Annotate(Layout::Parse(file.bytes).status(), config.initial_file));
  const LeafList leaves = LeavesOf(file.bytes);
  const Digest root = RootOfLeaves(leaves);
  store.Pin(root);
  log.Info("initial model {}: {}", config.initial_file, RootText(root));
  RETURN_IF_ERROR(store.KeepModel(RoundId{0}, root, file.bytes, leaves, true));
  return std::optional<Digest>(root);
}

std::vector<std::pair<std::string, std::string>> ProgramEnvironment(const std::string& socket_path,
                                                                    const std::string& contract) {
  std::vector<std::pair<std::string, std::string>> environment = {{"STARLING_SOCKET", socket_path},
                                                                  {"STARLING_CONTRACT", contract}};
  // Its output goes through our pipes: without this Python would hold it back by the block.
  // NOLINTNEXTLINE(concurrency-mt-unsafe): the environment is only changed before the threads start
  if (std::getenv("PYTHONUNBUFFERED") == nullptr) environment.emplace_back("PYTHONUNBUFFERED", "1");
  return environment;
}

PeerPolicy PolicyOf(const LearningNodeConfig& config,
                    std::initializer_list<const std::vector<std::string>*> lists) {
  PeerPolicy policy;
  policy.trust_domains = config.trust_domains;
  for (const auto* list : lists)
    policy.paths.insert(policy.paths.end(), list->begin(), list->end());
  return policy;
}

struct Networking {
  std::unique_ptr<TlsContext> server_tls;
  std::unique_ptr<TlsContext> sn_tls;
  std::unique_ptr<TlsContext> peer_tls;
};
Result<Networking> MakeNetworking(const LearningNodeConfig& config, const LearningNodeDeps& deps) {
  Networking net;
  ASSIGN_OR_RETURN(net.server_tls,
                   TlsContext::Create(deps.identity,
                                      PolicyOf(config, {&config.sl_paths, &config.sn_paths,
                                                        &config.operator_paths}),
                                      deps.clock));
  ASSIGN_OR_RETURN(
      net.sn_tls,
      TlsContext::Create(deps.identity, PolicyOf(config, {&config.sn_paths}), deps.clock));
  ASSIGN_OR_RETURN(
      net.peer_tls,
      TlsContext::Create(deps.identity, PolicyOf(config, {&config.sl_paths}), deps.clock));
  return net;
}

LearningNodeConfig WithDefaults(LearningNodeConfig config) {
  if (config.sl_paths.empty()) config.sl_paths = {"*/sl"};
  if (config.sn_paths.empty()) config.sn_paths = {"*/sn"};
  if (config.operator_paths.empty()) config.operator_paths = {"*/operator", "*/swci"};
  config.keep_models = std::max<std::size_t>(config.keep_models, kKeepModelsMin);
  return config;
}

// /readyz until the node has started.
HttpResponse StartingPage(const LearningNodeDeps& deps) {
  const IdentityHealth identity = LookAtIdentity(deps.identity, deps.clock.UtcNow());
  return TextResponse(StrCat("node: starting\nidentity: ", IdentityLine(identity), "\n"), 503);
}

// The port for peers.
Result<std::unique_ptr<HttpServer>> StartServer(const LearningNodeConfig& config, TlsContext& tls,
                                                BlobServer& blobs, const Log& log) {
  HttpServerOptions http = config.http;
  http.address = config.listen_address;
  http.port = config.blob_port;
  return HttpServer::Start(
      http, &tls,
      [&blobs](const HttpRequest& request, const std::stop_token& stop) {
        return blobs.Handle(request, stop);
      },
      log.Named("swarm.http"));
}

// What the pages show; it outlives the health server.
struct Shown {
  const LearningNodeDeps& deps;
  const HealthState& health;
  const std::atomic<const HttpServer*>& server;  // null until the port for peers is open
  const RefusalBook& refused_servers;
};
HealthPages PagesOf(const Shown& shown) {
  HealthPages pages = shown.health.Pages([shown] {
    const HttpServer* const server = shown.server.load();
    return MetricsText()
        .Identity(shown.deps.identity, shown.deps.clock.UtcNow())
        .Server(server == nullptr ? HttpServerCounters() : server->counters(), {})
        .RefusedServers(shown.refused_servers.counts())
        .Take();
  });
  pages.ready = [shown] {
    return shown.health.started() ? shown.health.Readiness() : StartingPage(shown.deps);
  };
  return pages;
}

// The process of the training that somebody has stopped: the one that was started here, or the one
// that speaks at the socket, which may be behind a shell or beside us.
std::optional<int> StoppedOf(const Program* program, const Bridge& bridge) {
  const std::optional<int> started = program == nullptr ? std::nullopt : program->StoppedProcess();
  return started ? started : StoppedProcess(bridge.peer_pid());
}

}  // namespace

Result<int> RunLearningNode(const LearningNodeConfig& given, const LearningNodeDeps& deps,
                            const std::stop_token& stop) {
  const LearningNodeConfig config = WithDefaults(given);
  RETURN_IF_ERROR(CheckName(config.name));
  ASSIGN_OR_RETURN(SnLinkOptions link_options, LinkOptions(config));
  RETURN_IF_ERROR(MakeDirectories(config.state_dir));
  ASSIGN_OR_RETURN(const SigningKey key,
                   SigningKey::LoadOrCreate(config.state_dir + "/ledger-key.pem", deps.random));
  ASSIGN_OR_RETURN(const std::unique_ptr<BlobStore> store,
                   BlobStore::Open(config.state_dir, config.keep_models));
  ASSIGN_OR_RETURN(const std::optional<Digest> initial, HoldInitial(config, *store, deps.log));
  ASSIGN_OR_RETURN(const Networking net, MakeNetworking(config, deps));
  RefusalBook refused_servers(deps.log.Named("swarm.http"), "the server ",
                              RefusalBook::kServersLogEvery);
  HttpClient sn_client(*net.sn_tls, {.refusals = &refused_servers});
  HttpClient peers(*net.peer_tls,
                   {.idle_timeout = config.stall_timeout, .refusals = &refused_servers});
  HttpClient probe_client(
      *net.peer_tls,
      {.connect_timeout = kProbeLimit, .idle_timeout = kProbeLimit, .refusals = &refused_servers});

  Board board;
  KeptLog kept_log;
  BlobServer blob_server({board, *store, deps.clock, key.kid(),
                          PolicyOf(config, {&config.operator_paths}),
                          PolicyOf(config, {&config.sn_paths}), &kept_log});
  std::unique_ptr<HttpServer> server;  // Goes after the health server, which asks it.
  std::atomic<const HttpServer*> open_server = nullptr;
  HealthState health;
  ASSIGN_OR_RETURN(const std::unique_ptr<HealthServer> health_server,
                   HealthServer::Start({config.listen_address, config.health_port},
                                       PagesOf({deps, health, open_server, refused_servers}),
                                       deps.log.Named("swarm.http")));
  RETURN_IF_ERROR(WaitForIdentity(deps.identity, config.identity_wait, deps.clock, deps.log, stop));

  // Only now: who came before would be refused, and told that it is a fault.
  ASSIGN_OR_RETURN(server, StartServer(config, *net.server_tls, blob_server, deps.log));
  open_server.store(server.get());

  const std::string socket_path =
      config.socket_path.empty() ? config.state_dir + "/starling.sock" : config.socket_path;
  const std::uint16_t port = config.advertise_port != 0 ? config.advertise_port : server->port();
  const std::string url = Endpoint{config.advertise_host, port}.Url();
  link_options.url = url;
  link_options.kept_log = &kept_log;
  NodeLoop loop({config, deps, key, peers, url, board, *store, blob_server, health, initial});
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Bridge> bridge,
      Bridge::Listen(
          socket_path, [&loop](BridgeEvent event) { loop.FromBridge(std::move(event)); },
          deps.log));
  SnLink link(std::move(link_options), sn_client, deps.clock, deps.log.Named("swarm.SN"),
              [&loop](SnEvent event) { loop.Post(LoopEvent{std::move(event)}); });
  AsyncRequests probes(probe_client, kProbesAtOnce);  // Its threads send mail, too.
  loop.Connect(link, *bridge, probes);
  health.set_started();
  if (deps.on_ready) deps.on_ready(server->port(), health_server->port());
  deps.log.Info("Opening pipes to communicate with user container ...");

  std::unique_ptr<Program> program;  // Ends before the loop and the bridge do.
  if (!config.program.empty()) {
    ASSIGN_OR_RETURN(
        program, Program::Start(config.program, ProgramEnvironment(socket_path, config.contract),
                                config.program_grace,
                                [&loop](ProgramEnd end) { loop.Post(LoopEvent{std::move(end)}); }));
  }
  loop.WatchProgram([&] { return StoppedOf(program.get(), *bridge); });
  return loop.Run(stop);
}

}  // namespace starling
