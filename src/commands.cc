#include "commands.h"

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/text.h"
#include "base/volume.h"
#include "http/client.h"
#include "http/tls.h"
#include "identity/dev_authority.h"
#include "identity/identity_health.h"
#include "identity_show.h"
#include "node_identity.h"
#include "spire_tokens.h"
#include "swci/sn_client.h"
#include "swci/swci.h"

namespace starling {
namespace {

using Command = CommandLine::Command;
constexpr std::size_t kConfigBytesMax = std::size_t{256} << 10;
constexpr std::size_t kScriptBytesMax = std::size_t{1} << 20;
constexpr Duration kCommandWait = 10s;  // for a first certificate
constexpr std::string_view kDefaultConfig = "starling.yaml";
constexpr std::string_view kHpeDataDir = "/platform/swarmml/data";
constexpr std::string_view kHpeModelDir = "/platform/swarmml/model";

int Finish(const Status& status, std::string_view component) {
  if (!status.ok()) std::cerr << ErrorLine(status, component) << "\n";
  return ExitCodeOf(status);
}

std::string Variable(const Machine& machine, const std::string& name) {
  const auto found = machine.environment.find(name);
  return found == machine.environment.end() ? "" : found->second;
}

Result<Settings> GatherSettings(Role role, const CommandLine& line, const Machine& machine) {
  std::string path = Variable(machine, "STARLING_CONFIG");
  if (const auto flag = line.flags.find("config"); flag != line.flags.end()) path = flag->second;
  std::map<std::string, std::string> file;
  if (!path.empty() || std::filesystem::exists(kDefaultConfig)) {
    ASSIGN_OR_RETURN(const std::string yaml,
                     ReadFile(path.empty() ? std::string(kDefaultConfig) : path, kConfigBytesMax));
    ASSIGN_OR_RETURN(file, ParseSettingsFile(yaml, role));
  }
  return Settings::Gather(role, line.flags, machine.environment, file);
}

// What is lost with a pod is said while it can be changed.
void WarnOfEmptyDir(const std::string& state_dir, const Log& log) {
  if (!IsOnEmptyDir(state_dir)) return;
  log.Warning(
      "state-not-kept: the state directory {} is an emptyDir: this node's key and what it keeps go "
      "with the pod; next: mount a PersistentVolumeClaim there",
      state_dir);
}

// Ports for whoever started us, written whole once they are open. Failing to is worth a line, not
// the node.
void WriteReadyFile(const std::string& path, const Json& ports, const Log& log) {
  if (path.empty()) return;
  if (const Status status = WriteFileDurably(path, StrCat(ports.dump(), "\n")); !status.ok()) {
    log.Error("{}", ErrorLine(Annotate(status, "ready file"), "starling"));
  }
}

Status RunSn(const CommandLine& line, const Machine& machine) {
  ASSIGN_OR_RETURN(const Settings settings, GatherSettings(Role::kSn, line, machine));
  ASSIGN_OR_RETURN(const Log log, LogFrom(settings, "swarm.SN"));
  ASSIGN_OR_RETURN(const NetworkNodeConfig config, SnConfigFrom(settings));
  ASSIGN_OR_RETURN(const IdentityConfig wanted, IdentityFrom(settings, Role::kSn));
  ASSIGN_OR_RETURN(const std::unique_ptr<SvidSource> identity,
                   OpenIdentity(wanted, machine.clock, log));
  for (const std::string& note : settings.notes()) log.Info("{}", note);
  WarnOfEmptyDir(config.state_dir, log);
  const auto ready = [&](std::uint16_t api_port, std::uint16_t health_port) {
    WriteReadyFile(settings.Text("ready-file"),
                   {{"api_port", api_port}, {"health_port", health_port}}, log);
  };
  return RunNetworkNode(config, {machine.clock, machine.random, *identity, log, ready},
                        machine.stop);
}

Status RunSpireTokens(const CommandLine& line, const Machine& machine) {
  ASSIGN_OR_RETURN(const Settings settings,
                   Settings::Gather(Role::kSpireTokens, line.flags, machine.environment, {}));
  ASSIGN_OR_RETURN(const Log log, LogFrom(settings, "swarm.tokens"));
  ASSIGN_OR_RETURN(const TokenKeeperOptions options, TokenKeeperFrom(settings));
  const auto ready = [&](std::uint16_t health_port) {
    WriteReadyFile(settings.Text("ready-file"), {{"health_port", health_port}}, log);
  };
  return RunTokenKeeper(options, {machine.clock, log, ready}, machine.stop);
}

// The program inherits these; a variable that is there already stays unless a flag says otherwise.
void ExportDirectory(const Settings& settings, const Host& host, const char* variable,
                     std::string_view name, std::string_view hpe_default) {
  std::string value = settings.Text(name);
  if (value.empty() && host.is_directory(std::string(hpe_default))) value = hpe_default;
  if (value.empty()) return;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): before any thread that reads the environment is started
  static_cast<void>(setenv(variable, value.c_str(), 1));
}

Result<int> RunSl(const CommandLine& line, const Machine& machine) {
  ASSIGN_OR_RETURN(const Settings settings, GatherSettings(Role::kSl, line, machine));
  ASSIGN_OR_RETURN(const Log log, LogFrom(settings, "swarm.SL"));
  ASSIGN_OR_RETURN(const LearningNodeConfig config,
                   SlConfigFrom(settings, line.program, machine.host));
  ASSIGN_OR_RETURN(const IdentityConfig wanted, IdentityFrom(settings, Role::kSl));
  ASSIGN_OR_RETURN(const std::unique_ptr<SvidSource> identity,
                   OpenIdentity(wanted, machine.clock, log));
  for (const std::string& note : settings.notes()) log.Info("{}", note);
  WarnOfEmptyDir(config.state_dir, log);
  ExportDirectory(settings, machine.host, "DATA_DIR", "data-dir", kHpeDataDir);
  ExportDirectory(settings, machine.host, "MODEL_DIR", "model-dir", kHpeModelDir);
  const auto ready = [&](std::uint16_t blob_port, std::uint16_t health_port) {
    WriteReadyFile(settings.Text("ready-file"),
                   {{"blob_port", blob_port}, {"health_port", health_port}}, log);
  };
  return RunLearningNode(config, {machine.clock, machine.random, *identity, log, ready},
                         machine.stop);
}

// A client's side of mutual TLS, towards network nodes.
struct OperatorEdge {
  std::unique_ptr<SvidSource> identity;
  std::unique_ptr<TlsContext> tls;
  std::unique_ptr<HttpClient> http;
};
Result<OperatorEdge> MakeEdge(const Settings& settings, Role role, const Machine& machine) {
  OperatorEdge edge;
  ASSIGN_OR_RETURN(const Log log, LogFrom(settings, "swarm.identity"));
  ASSIGN_OR_RETURN(const IdentityConfig wanted, IdentityFrom(settings, role));
  // Its certificates are no news to who types a command; a wait for the first one is.
  ASSIGN_OR_RETURN(edge.identity, OpenIdentity(wanted, machine.clock, Log{}));
  ASSIGN_OR_RETURN(const Duration given, settings.Span("identity-wait"));
  const Duration limit = settings.Given("identity-wait") ? given : kCommandWait;
  RETURN_IF_ERROR(WaitForIdentity(*edge.identity, limit, machine.clock, log, machine.stop));
  PeerPolicy policy{settings.List("trust-domains"), settings.List("sn-paths")};
  ASSIGN_OR_RETURN(edge.tls, TlsContext::Create(*edge.identity, std::move(policy), machine.clock));
  edge.http = std::make_unique<HttpClient>(*edge.tls, HttpClientOptions{});
  return edge;
}

Result<std::optional<std::string>> ReadScript(const Settings& settings) {
  const std::string name = settings.Text("init-script-name");
  const std::string path =
      name.starts_with('/') ? name : StrCat(settings.Text("usr-dir"), "/", name);
  if (!settings.Given("init-script-name") && !std::filesystem::exists(path))
    return std::optional<std::string>();
  ASSIGN_OR_RETURN(std::string text, ReadFile(path, kScriptBytesMax));
  return std::optional<std::string>(std::move(text));
}

Result<int> RunSwciCommand(const CommandLine& line, const Machine& machine) {
  ASSIGN_OR_RETURN(const Settings settings, GatherSettings(Role::kSwci, line, machine));
  ASSIGN_OR_RETURN(const Log log, LogFrom(settings, "swarm.swci"));
  for (const std::string& note : settings.notes()) log.Info("{}", note);
  if (settings.Text("mode") != "CLI") {
    return WithNext(
        WithCode(absl::UnimplementedError("SWCI's WEB mode comes in a later release"), "not-yet"),
        "leave SWCI_MODE out");
  }
  SwciOptions options;
  options.commands = line.swci_commands;
  options.terminal = machine.input_is_terminal;
  ASSIGN_OR_RETURN(options.script, ReadScript(settings));
  Result<std::vector<Endpoint>> sns = SnEndpointsFrom(settings);
  if (!sns.ok() && StableCode(sns.status()) != "no-sn") return sns.status();
  if (sns.ok()) options.sn = sns->front();
  ASSIGN_OR_RETURN(const OperatorEdge edge, MakeEdge(settings, Role::kSwci, machine));
  // A session blocks in reading standard input, which a stop cannot end, and leaves nothing half
  // done.
  const std::stop_callback leave(machine.stop, [] { std::_Exit(130); });
  return RunSwci(
      options,
      RealSurroundings(*edge.http, machine.stop, sns.ok() ? *sns : std::vector<Endpoint>()),
      std::cin, std::cout, machine.stop);
}

Status RunOperator(const CommandLine& line, const Machine& machine) {
  ASSIGN_OR_RETURN(const Settings settings, GatherSettings(Role::kOperator, line, machine));
  ASSIGN_OR_RETURN(const std::vector<Endpoint> sns, SnEndpointsFrom(settings));
  ASSIGN_OR_RETURN(const OperatorEdge edge, MakeEdge(settings, Role::kOperator, machine));
  HttpSnClient client(*edge.http, sns, machine.stop);
  if (line.command == Command::kTraining) return RunTraining(line.training, client, std::cout);
  return RunStatus(line.status, client, machine.clock,
                   RealSurroundings(*edge.http, machine.stop).pause, std::cout);
}

Result<int> RunExplain(const CommandLine& line, const Machine& machine,
                       const ToolContext& context) {
  ExplainOptions options = line.explain;
  if (!line.explain_what.empty() && std::filesystem::exists(line.explain_what)) {
    options.source = line.explain_what;
    return Explain(options, context);
  }
  if (!line.explain_what.empty()) options.contract = line.explain_what;
  ASSIGN_OR_RETURN(const Settings settings, GatherSettings(Role::kOperator, line, machine));
  Result<std::vector<Endpoint>> sns = SnEndpointsFrom(settings);
  if (!sns.ok() && !line.explain_what.empty()) {
    return WithNext(absl::NotFoundError(StrCat(
                        Printable(line.explain_what),
                        " is no directory, and no network node is given to ask for a training")),
                    "name the directory of a run, or give --sn");
  }
  if (!sns.ok()) return sns.status();
  for (const Endpoint& sn : *sns) options.sn_urls.push_back(sn.Url());
  ASSIGN_OR_RETURN(const OperatorEdge edge, MakeEdge(settings, Role::kOperator, machine));
  options.http = edge.http.get();
  return Explain(options, context);
}

Status RunDevCa(const DevCaRequest& request, const Clock& clock) {
  const UtcTime now = clock.UtcNow();
  RETURN_IF_ERROR(MakeDirectories(request.directory, 0700));
  ASSIGN_OR_RETURN(const DevAuthority authority,
                   DevAuthority::LoadOrCreate(request.directory, request.trust_domain, now));
  std::cout << "authority of " << authority.trust_domain() << ": " << request.directory
            << "/ca-cert.pem\n";
  for (const std::string& item : request.issue) {
    const std::size_t colon = item.rfind(':');
    if (colon == std::string::npos || colon + 1 == item.size() ||
        item.find('/', colon) != std::string::npos) {
      return WithNext(absl::InvalidArgumentError(
                          StrCat("--issue: path:stem, not \"", Printable(item, 80), "\"")),
                      "as in --issue /swarm/sl:node1");
    }
    DevAuthority::Request wanted;
    wanted.path = item.substr(0, colon);
    wanted.dns.insert(wanted.dns.end(), request.dns.begin(), request.dns.end());
    wanted.ips.insert(wanted.ips.end(), request.ips.begin(), request.ips.end());
    wanted.not_before = now - std::chrono::minutes(5);  // Clocks differ a little.
    wanted.not_after = now + std::chrono::hours(24 * request.days);
    ASSIGN_OR_RETURN(const PemFiles files,
                     authority.IssueFiles(wanted, request.directory, item.substr(colon + 1)));
    std::cout << "spiffe://" << authority.trust_domain() << wanted.path << ": --cert " << files.cert
              << " --key " << files.key << " --cacert " << files.cacert << "\n";
  }
  return absl::OkStatus();
}

Status RunClientInstall(const ClientInstallOptions& options) {
  ASSIGN_OR_RETURN(const std::string line, InstallClient(options));
  std::cout << line << "\n";
  return absl::OkStatus();
}

std::vector<PeerRole> PeerRolesOf(Role role, const Settings& settings) {
  const std::vector<std::string> domains = settings.List("trust-domains");
  std::vector<PeerRole> roles{{"network node", {domains, settings.List("sn-paths")}}};
  if (role != Role::kSn && role != Role::kSl) return roles;
  roles.push_back({"learning node", {domains, settings.List("sl-paths")}});
  roles.push_back({"operator", {domains, settings.List("operator-paths")}});
  return roles;
}

// Prints what there is, a certificate or not; without a usable one it fails.
Result<int> ShowIdentity(const CommandLine& line, const Machine& machine) {
  ASSIGN_OR_RETURN(const Settings settings, GatherSettings(line.show_as, line, machine));
  ASSIGN_OR_RETURN(const IdentityConfig wanted, IdentityFrom(settings, line.show_as));
  if (std::holds_alternative<JoinOptions>(wanted.source)) {
    return WithNext(WithCode(absl::InvalidArgumentError(
                                 "a join token is not spent for a look at what it brings"),
                             "join-token"),
                    "look at /readyz of the node that has it");
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<SvidSource> source,
                   OpenIdentity(wanted, machine.clock, Log{}));
  const Status found = source->AwaitIdentity(kCommandWait, machine.stop);
  const std::vector<PeerRole> roles = PeerRolesOf(line.show_as, settings);
  const UtcTime now = machine.clock.UtcNow();
  std::cout << (line.json ? StrCat(IdentityJson(*source, roles, now).dump(2), "\n")
                          : IdentityText(*source, roles, now));
  if (!found.ok()) return found;
  return LookAtIdentity(*source, now).usable ? 0 : 1;
}

// Where examples/ and python/ are: $STARLING_HOME, else the checkout that holds
// build/<preset>/bin/starling, else the installed files.
std::string FindHome(const Machine& machine) {
  if (std::string home = Variable(machine, "STARLING_HOME"); !home.empty()) return home;
  const std::filesystem::path bin = std::filesystem::path(machine.self).parent_path();
  for (const std::filesystem::path& home : {bin / "../../..", bin / "../share/starling"}) {
    if (std::filesystem::is_directory(home / "examples")) return home.lexically_normal().string();
  }
  return ".";
}

int RunTool(const CommandLine& line, const Machine& machine) {
  const ToolContext context{machine.clock, machine.random, machine.self, machine.stop};
  if (line.command == Command::kVerify) return Verify(line.verify, context);
  if (line.command == Command::kRun) return RunSwarm(line.run, context);
  DemoOptions demo = line.demo;
  demo.python = machine.host.python;
  demo.home = FindHome(machine);
  if (demo.data_dir.empty()) demo.data_dir = Variable(machine, "DATA_DIR");
  return RunDemo(demo, context);
}

int FinishCode(const Result<int>& code, std::string_view component) {
  return code.ok() ? *code : Finish(code.status(), component);
}

}  // namespace

int RunCommand(const CommandLine& line, const Machine& machine) {
  switch (line.command) {
    case Command::kHelp:
      std::cout << line.help;
      return 0;
    case Command::kVersion:
      std::cout << "starling " << STARLING_VERSION << "\n";
      return 0;
    case Command::kEnv:
      std::cout << (line.json ? StrCat(EnvironmentJson().dump(2), "\n") : EnvironmentText());
      return 0;
    case Command::kSn:
      return Finish(RunSn(line, machine), "starling sn");
    case Command::kSl:
      return FinishCode(RunSl(line, machine), "starling sl");
    case Command::kSwci:
      return FinishCode(RunSwciCommand(line, machine), "starling swci");
    case Command::kTraining:
      return Finish(RunOperator(line, machine), "starling training");
    case Command::kStatus:
      return Finish(RunOperator(line, machine), "starling status");
    case Command::kDevCa:
      return Finish(RunDevCa(line.dev_ca, machine.clock), "starling identity dev-ca");
    case Command::kIdentityShow:
      return FinishCode(ShowIdentity(line, machine), "starling identity show");
    case Command::kClientInstall:
      return Finish(RunClientInstall(line.client_install), "starling client install");
    case Command::kSpireTokens:
      return Finish(RunSpireTokens(line, machine), "starling spire-tokens");
    case Command::kExplain:
      return FinishCode(
          RunExplain(line, machine, {machine.clock, machine.random, machine.self, machine.stop}),
          "starling explain");
    case Command::kKubeImport: {
      // Exit code 2 is for a command line that is wrong, not for a manifest.
      const Status done = RunKubeImport(line.kube_import, std::cout);
      return Finish(done, "starling kube import") == 0 ? 0 : 1;
    }
    case Command::kVerify:
    case Command::kRun:
    case Command::kDemo:
      return RunTool(line, machine);
  }
  return 1;
}

}  // namespace starling
