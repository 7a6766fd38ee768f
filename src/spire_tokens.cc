#include "spire_tokens.h"

#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/text.h"
#include "identity/spiffe_id.h"
#include "tokens/secret.h"

namespace starling {
namespace {

constexpr std::string_view kDefaultTrustDomain = "swarm.learning";

Status Usage(const std::string& message, std::string_view next) {
  return WithNext(WithCode(absl::InvalidArgumentError(message), "bad-setting"), next);
}

Result<std::string> NamespaceFrom(const Settings& settings, const TokensConfig& config) {
  std::string name = settings.Given("namespace") ? settings.Text("namespace") : config.space;
  if (name.empty()) {
    const std::string path = StrCat(settings.Text("service-account-dir"), "/namespace");
    Result<std::string> read = ReadFile(path);
    if (!read.ok()) {
      return Usage(StrCat("nothing says the namespace of the Secrets: ", read.status().message()),
                   "give --namespace, or namespace: in the file");
    }
    name = *std::move(read);
    name.erase(name.find_last_not_of(" \t\r\n") + 1);
  }
  if (!IsNamespaceName(name)) {
    return Usage(StrCat("\"", Printable(name, 80), "\" is no name of a namespace"),
                 "correct --namespace");
  }
  return name;
}

}  // namespace

Result<TokenKeeperOptions> TokenKeeperFrom(const Settings& settings) {
  TokenKeeperOptions options;
  const std::string file = settings.Text("config");
  Result<std::string> yaml = ReadFile(file, kTokensConfigBytesMax);
  if (!yaml.ok()) {
    return WithNext(WithCode(yaml.status(), "bad-tokens-config"),
                    "name the file of entries and tokens with --config");
  }
  ASSIGN_OR_RETURN(options.config, ParseTokensConfig(*yaml, file));
  TokensConfig& config = options.config;
  if (settings.Given("spire-trust-domain"))
    config.trust_domain = settings.Text("spire-trust-domain");
  if (config.trust_domain.empty()) config.trust_domain = kDefaultTrustDomain;
  const Result<SpiffeId> id = SpiffeId::Parse(StrCat("spiffe://", config.trust_domain));
  if (!id.ok() || !id->path().empty()) {
    return Usage(StrCat("\"", Printable(config.trust_domain, 80), "\" is no trust domain"),
                 "give its name, as in --spire-trust-domain example.org");
  }
  ASSIGN_OR_RETURN(config.space, NamespaceFrom(settings, config));
  options.server_socket = settings.Text("server-socket");
  if (!options.server_socket.starts_with('/')) {
    return Usage(StrCat("\"", Printable(options.server_socket, 80), "\" is no absolute path"),
                 "name the socket of the SPIRE server with --server-socket");
  }
  options.kube.server.host = settings.Text("kube-host");
  if (options.kube.server.host.empty()) {
    return Usage("nothing says where the API of Kubernetes is",
                 "run it in a pod, where KUBERNETES_SERVICE_HOST says it, or give --kube-host");
  }
  ASSIGN_OR_RETURN(options.kube.server.port, settings.Port("kube-port"));
  const std::string account = settings.Text("service-account-dir");
  options.kube.token_file = StrCat(account, "/token");
  options.kube.ca_file = StrCat(account, "/ca.crt");
  options.health.address = settings.Text("listen-address");
  ASSIGN_OR_RETURN(options.health.port, settings.Port("health-port"));
  return options;
}

}  // namespace starling
