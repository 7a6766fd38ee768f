#include "environment_rows.h"

namespace starling {
namespace {

constexpr unsigned kTokens = static_cast<unsigned>(Role::kSpireTokens);

constexpr Setting kSettings[] = {
    {.roles = kTokens,
     .name = "config",
     .env = {"STARLING_TOKENS_CONFIG"},
     .fallback = "/etc/starling/tokens.yaml",
     .meaning = "file of the registration entries and join tokens to keep"},
    {.roles = kTokens,
     .name = "server-socket",
     .env = {"STARLING_SPIRE_SERVER_SOCKET"},
     .fallback = "/tmp/spire-server/private/api.sock",
     .meaning = "Unix socket of the SPIRE server's own API"},
    {.roles = kTokens,
     .name = "spire-trust-domain",
     .flags = {"trustdomain"},
     .env = {"STARLING_SPIRE_TRUST_DOMAIN"},
     .meaning = "trust domain of the SPIRE server; default: as the file says, else swarm.learning"},
    {.roles = kTokens,
     .name = "namespace",
     .env = {"STARLING_NAMESPACE"},
     .meaning = "namespace of the Secrets; default: as the file says, else that of the pod"},
    {.roles = kTokens,
     .name = "kube-host",
     .env = {"KUBERNETES_SERVICE_HOST"},
     .meaning = "name or address of the API of Kubernetes, for which its certificate must be"},
    {.roles = kTokens,
     .name = "kube-port",
     .env = {"KUBERNETES_SERVICE_PORT_HTTPS", "KUBERNETES_SERVICE_PORT"},
     .fallback = "443",
     .meaning = "port of the API of Kubernetes"},
    {.roles = kTokens,
     .name = "service-account-dir",
     .env = {"STARLING_SERVICE_ACCOUNT_DIR"},
     .fallback = "/var/run/secrets/kubernetes.io/serviceaccount",
     .meaning = "folder of this pod's token, ca.crt and namespace"},
    {.roles = kTokens,
     .name = "listen-address",
     .flags = {"listen"},
     .env = {"STARLING_LISTEN"},
     .fallback = "0.0.0.0",
     .meaning = "address to listen on"},
    {.roles = kTokens,
     .name = "health-port",
     .env = {"STARLING_HEALTH_PORT"},
     .fallback = "9464",
     .meaning = "plain port of /readyz and /metrics; 0: a free one"},
    {.roles = kTokens,
     .name = "log-level",
     .flags = {"loglevel"},
     .env = {"STARLING_LOG_LEVEL"},
     .fallback = "INFO",
     .meaning = "DEBUG, INFO, WARNING or ERROR"},
    {.roles = kTokens,
     .name = "log-json",
     .env = {"STARLING_LOG_JSON"},
     .fallback = "false",
     .meaning = "one JSON object a line",
     .toggle = true},
    {.roles = kTokens,
     .name = "ready-file",
     .meaning = "written once the health port is open: JSON with its number"},
};

}  // namespace

std::span<const Setting> SpireTokensSettings() { return kSettings; }

}  // namespace starling
