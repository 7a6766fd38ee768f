#include "tokens/secrets_client.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/fs.h"
#include "base/text.h"
#include "http/request_parser.h"

namespace starling {
namespace {

constexpr std::size_t kAnswerBytesMax = std::size_t{4} << 20;
constexpr std::size_t kTokenBytesMax = std::size_t{64} << 10;  // a JWT, sometimes with many groups

Result<std::string> ReadToken(const std::string& path) {
  ASSIGN_OR_RETURN(std::string token, ReadFile(path, kTokenBytesMax));
  token.erase(token.find_last_not_of(" \t\r\n") + 1);
  if (token.empty() || token.find_first_of(" \t\r\n") != std::string::npos)
    return absl::InvalidArgumentError(StrCat(path, ": holds no token"));
  return token;
}

Status FilesError(const Status& status) {
  return WithNext(WithCode(Annotate(status, "the service account of this pod"), "kube-account"),
                  "mount it (automountServiceAccountToken), or name its folder with "
                  "--service-account-dir; this is tried again by itself");
}

// Then another Secret fares no better. An answer that is late, too long or none of the API may be
// this Secret's fault alone, as a webhook may have looked at it.
bool IsUnconnected(const Status& status) {
  const std::string code = StableCode(status);  // of a connection or a handshake without an end
  return absl::IsUnavailable(status) || absl::IsUnauthenticated(status) || code == "unreachable" ||
         code == "too-slow";
}

}  // namespace

Result<Secret> SecretsClient::Patch(const SecretName& name, const SecretPatch& patch,
                                    const std::string& manager, const std::stop_token& stop) {
  CHECK(IsNamespaceName(name.space) && IsSecretName(name.name));
  const Result<std::string> token = ReadToken(options_.token_file);
  if (!token.ok()) return FilesError(token.status());
  const Result<std::string> ca = ReadFile(options_.ca_file);
  if (!ca.ok()) return FilesError(ca.status());
  const auto tls = TlsContext::CreateForWeb(*ca, clock_);
  if (!tls.ok()) return FilesError(Annotate(tls.status(), options_.ca_file));
  HttpClientOptions http_options;
  http_options.connect_timeout = options_.connect_timeout;
  http_options.idle_timeout = options_.answer_timeout;
  http_options.body_bytes_max = kAnswerBytesMax;
  HttpClient http(**tls, http_options);
  const ClientRequest request{.method = "PATCH",
                              .target = StrCat("/api/v1/namespaces/", name.space, "/secrets/",
                                               name.name, "?fieldManager=", PercentEncode(manager)),
                              .headers = {{"accept", "application/json"},
                                          {"authorization", StrCat("Bearer ", *token)},
                                          {"connection", "close"},
                                          {"content-type", "application/merge-patch+json"}},
                              .body = MergePatchText(patch)};
  const Result<ClientResponse> answer = http.Do(options_.server, request, stop);
  if (absl::IsCancelled(answer.status())) return answer.status();
  if (!answer.ok()) {
    return WithNext(
        WithCode(Annotate(answer.status(), "the API of Kubernetes cannot be asked"),
                 IsUnconnected(answer.status()) ? "kube-unreachable" : "kube-unavailable"),
        "look at the API server and at network policies; this is tried again by "
        "itself");
  }
  if (answer->status < 200 || answer->status >= 300) {
    std::vector<std::string> secrets = {*token};
    for (const auto& [key, value] : patch.data) {
      secrets.push_back(value);
      secrets.push_back(Base64Encode(value));
    }
    return SecretPatchError(answer->status, answer->body, name, secrets);
  }
  Result<Secret> secret = ParseSecret(answer->body, name);
  if (secret.ok()) return secret;
  return WithNext(
      WithCode(absl::UnavailableError(StrCat("the API of Kubernetes at ", options_.server.Text(),
                                             " answered with ", secret.status().message())),
               "kube-unavailable"),
      "is that an API server? This is tried again by itself");
}

}  // namespace starling
