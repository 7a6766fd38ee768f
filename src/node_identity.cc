#include "node_identity.h"

#include <algorithm>
#include <utility>

#include "base/secrets.h"
#include "base/text.h"
#include "identity/pem_source.h"

namespace starling {
namespace {

Status Usage(const std::string& message, std::string_view code, std::string_view next) {
  return WithNext(WithCode(absl::InvalidArgumentError(message), code), next);
}

// The paths that registration entries of this role have by default.
std::vector<std::string> OwnPaths(Role role) {
  switch (role) {
    case Role::kSn:
      return {"*/sn"};
    case Role::kSl:
      return {"*/sl"};
    case Role::kSwci:
      return {"*/swci", "*/operator"};
    case Role::kOperator:
      return {"*/operator", "*/swci"};
    case Role::kSpireTokens:
      break;  // It speaks to no node.
  }
  return {};
}

Result<PemFiles> FilesFrom(const Settings& settings) {
  PemFiles files{settings.Text("cert"), settings.Text("key"), settings.Text("cacert"),
                 settings.Text("capath")};
  if (files.cert.empty() || files.key.empty() || (files.cacert.empty() && files.capath.empty())) {
    std::string missing;
    if (files.cert.empty()) StrAppend(&missing, " --cert");
    if (files.key.empty()) StrAppend(&missing, " --key");
    if (files.cacert.empty() && files.capath.empty()) StrAppend(&missing, " --cacert");
    return Usage(StrCat("No identity specified: missing", missing), "no-identity",
                 "give --cert, --key and --cacert (or --capath), or the socket of a SPIRE agent "
                 "(--socket-path), or a SPIRE join token; starling identity dev-ca makes such "
                 "files for one machine");
  }
  return files;
}

Result<JoinOptions> JoinFrom(const Settings& settings) {
  JoinOptions join;
  join.server_host = settings.Text("server-address");
  if (join.server_host.empty()) {
    return Usage("a SPIRE join token, but no SPIRE server", "no-identity",
                 "give --server-address (SPIRE_SERVER_IP) and --server-port");
  }
  ASSIGN_OR_RETURN(join.server_port, settings.Port("server-port"));
  ASSIGN_OR_RETURN(join.insecure_bootstrap, settings.Bool("insecure-bootstrap"));
  join.trust_domain = settings.Text("spire-trust-domain");
  join.bundle_file = settings.Text("spire-bundle");
  join.state_dir =
      settings.Text(settings.Given("spire-state-dir") ? "spire-state-dir" : "state-dir");
  join.token = settings.Text("join-token");
  return join;
}

}  // namespace

Result<IdentityConfig> IdentityFrom(const Settings& settings, Role role) {
  SvidChoice choice{settings.List("spiffe-path"), settings.Text("spiffe-hint")};
  if (choice.paths.empty()) choice.paths = OwnPaths(role);
  const auto any_given = [&](std::initializer_list<std::string_view> names) {
    return std::ranges::any_of(names, [&](std::string_view name) { return settings.Given(name); });
  };
  // A server alone is enough once a token is spent, but it says less than a socket does.
  // Operators have no such settings.
  const bool joins = role != Role::kOperator &&
                     (any_given({"join-token", "join-token-file"}) ||
                      (settings.Given("server-address") && !settings.Given("socket-path")));
  IdentityConfig config;
  if (any_given({"cert", "key", "cacert", "capath"})) {
    ASSIGN_OR_RETURN(config.source, FilesFrom(settings));
  } else if (joins) {
    ASSIGN_OR_RETURN(JoinOptions join, JoinFrom(settings));
    join.choice = std::move(choice);
    config.source = std::move(join);
    config.join_token_file = settings.Text("join-token-file");
  } else if (settings.Given("socket-path")) {
    config.source =
        WorkloadOptions{.address = settings.Text("socket-path"), .choice = std::move(choice)};
  } else {
    ASSIGN_OR_RETURN(config.source, FilesFrom(settings));
  }
  return config;
}

Result<std::unique_ptr<SvidSource>> OpenIdentity(IdentityConfig config, const Clock& clock,
                                                 const Log& log) {
  const Log own_log = log.Named("swarm.identity");
  if (const auto* const files = std::get_if<PemFiles>(&config.source))
    return WatchPemFiles(*files, clock, own_log);
  if (const auto* const workload = std::get_if<WorkloadOptions>(&config.source))
    return StartWorkloadSource(*workload, clock, own_log);
  auto& join = std::get<JoinOptions>(config.source);
  if (!config.join_token_file.empty()) {
    Result<std::string> token = ReadSecretFile(config.join_token_file, "join token");
    const bool can_come = config.join_token_file != "-", is_of_file = token.ok();
    const bool is_empty = can_come && StableCode(token.status()) == "no-secret";
    // Gone, as it should be once it is spent: what an earlier start has kept may be enough. Else
    // it is waited for, with what the server is believed by.
    if (!token.ok() && !is_empty && !absl::IsNotFound(token.status())) return token.status();
    if (token.ok()) join.token = *std::move(token);
    // One that is given besides stands in for a file that has none.
    if (can_come && (is_of_file || join.token.empty()))
      join.token_file = std::move(config.join_token_file);
  }
  return StartJoinSource(std::move(join), clock, own_log);
}

}  // namespace starling
