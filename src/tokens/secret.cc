#include "tokens/secret.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/secrets.h"
#include "base/text.h"
#include "crypto/json.h"

namespace starling {
namespace {

// A Secret holds 1 MiB at most; in base64, with metadata and the list of who manages which field.
constexpr JsonLimits kSecretLimits{.bytes_max = std::size_t{4} << 20, .depth_max = 32};
constexpr JsonLimits kErrorLimits{.bytes_max = std::size_t{64} << 10, .depth_max = 32};
constexpr std::size_t kItemsMax = 10'000;
constexpr std::size_t kWordsMax = 300;
constexpr std::size_t kLabelMax = 63, kSubdomainMax = 253;

bool IsLabel(std::string_view text) {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= kLabelMax && alphanumeric(text.front()) &&
         alphanumeric(text.back()) &&
         std::ranges::all_of(text, [&](char c) { return alphanumeric(c) || c == '-'; });
}

Status Wrong(std::string_view what) {
  return absl::InvalidArgumentError(StrCat("a Secret ", what));
}

// A member that is a map of strings; absent is empty, as the API leaves empty ones out.
Result<std::map<std::string, std::string>> Strings(const Json& object, std::string_view member) {
  std::map<std::string, std::string> out;
  const auto found = object.find(std::string(member));
  if (found == object.end() || found->is_null()) return out;
  if (!found->is_object() || found->size() > kItemsMax)
    return Wrong(StrCat("whose ", member, " is no map"));
  for (const auto& [key, value] : found->items()) {
    if (!value.is_string()) return Wrong(StrCat("whose ", member, " holds more than strings"));
    out[key] = value.get<std::string>();
  }
  return out;
}

}  // namespace

bool IsNamespaceName(std::string_view text) { return IsLabel(text); }

bool IsSecretName(std::string_view text) {
  if (text.empty() || text.size() > kSubdomainMax) return false;
  while (!text.empty()) {
    const std::size_t dot = std::min(text.find('.'), text.size());
    if (!IsLabel(text.substr(0, dot)) || dot + 1 == text.size()) return false;
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return true;
}

Result<Secret> ParseSecret(std::string_view json, const SecretName& name) {
  ASSIGN_OR_RETURN(const Json root, ParseJson(json, kSecretLimits));
  if (!root.is_object()) return Wrong("that is no object");
  ASSIGN_OR_RETURN(const std::string kind, GetString(root, "kind"));
  ASSIGN_OR_RETURN(const Json* const metadata, GetObject(root, "metadata"));
  ASSIGN_OR_RETURN(const std::string its_name, GetString(*metadata, "name"));
  ASSIGN_OR_RETURN(const std::string its_space, GetString(*metadata, "namespace"));
  if (kind != "Secret" || its_name != name.name || its_space != name.space)
    return Wrong("that is another object than was asked for");
  Secret secret;
  ASSIGN_OR_RETURN(secret.uid, GetString(*metadata, "uid"));
  ASSIGN_OR_RETURN(secret.annotations, Strings(*metadata, "annotations"));
  ASSIGN_OR_RETURN(secret.data, Strings(root, "data"));
  for (auto& [key, value] : secret.data) {
    Result<std::string> decoded = Base64Decode(value);
    if (!decoded.ok()) return Wrong("whose data is not base64");
    value = *std::move(decoded);
  }
  return secret;
}

std::string MergePatchText(const SecretPatch& patch) {
  Json body = Json::object();
  for (const auto& [key, value] : patch.annotations) body["metadata"]["annotations"][key] = value;
  for (const auto& [key, value] : patch.data) body["data"][key] = Base64Encode(value);
  return JsonText(body);
}

std::string Base64Encode(std::string_view bytes) {
  std::string text = Base64UrlEncode(AsBytes(bytes));
  std::ranges::replace(text, '-', '+');
  std::ranges::replace(text, '_', '/');
  text.append((4 - text.size() % 4) % 4, '=');
  return text;
}

Result<std::string> Base64Decode(std::string_view text) {
  const Status wrong = absl::InvalidArgumentError("not base64");
  if (text.size() % 4 != 0 || text.find_first_of("-_") != std::string_view::npos) return wrong;
  std::string url(text.substr(0, std::min(text.find('='), text.size())));
  if (text.size() - url.size() > 2 || text.substr(url.size()).find_first_not_of('=') != text.npos)
    return wrong;
  std::ranges::replace(url, '+', '-');
  std::ranges::replace(url, '/', '_');
  const Result<Bytes> bytes = Base64UrlDecode(url);
  if (!bytes.ok()) return wrong;
  return ToString(*bytes);
}

Status SecretPatchError(int http_status, std::string_view body, const SecretName& name,
                        std::span<const std::string> secrets) {
  // The API's own words are in a Status object; whatever stands before it has none.
  std::string words;
  if (const Result<Json> json = ParseJson(body, kErrorLimits); json.ok() && json->is_object()) {
    // Secrets first: cut or escaped they would not be found.
    words = Printable(
        Redacted(GetString(*json, "message", kErrorLimits.bytes_max).value_or(""), secrets),
        kWordsMax);
  }
  if (words.empty()) words = StrCat("HTTP status ", http_status);
  const std::string secret = StrCat("the Secret ", name.Text());
  const auto error = [&](absl::StatusCode code, std::string_view stable, const std::string& text,
                         const std::string& next) {
    return WithNext(WithCode(Status(code, AbslView(text)), stable), next);
  };
  switch (http_status) {
    case 401:
      return error(
          absl::StatusCode::kUnauthenticated, "kube-unauthenticated",
          StrCat("the API of Kubernetes does not take the token of this pod (", words, ")"),
          "mount the token of a service account that exists");
    case 403:
      return error(absl::StatusCode::kPermissionDenied, "kube-forbidden",
                   StrCat("this pod may not patch ", secret, " (", words, ")"),
                   StrCat("give the Role of its service account the verb patch on secrets with the "
                          "resourceNames [",
                          name.name, "] in the namespace ", name.space));
    case 404:
      return error(
          absl::StatusCode::kNotFound, "kube-secret-missing", StrCat(secret, " is missing"),
          StrCat("create it empty: kubectl -n ", name.space, " create secret generic ", name.name));
    default:
      break;
  }
  if (http_status == 409 || http_status == 429 || http_status >= 500) {
    return error(absl::StatusCode::kUnavailable, "kube-unavailable",
                 StrCat("the API of Kubernetes cannot patch ", secret, " now (", words, ")"),
                 "look at the API server; this is tried again by itself");
  }
  return error(absl::StatusCode::kInternal, "kube-refused",
               StrCat("the API of Kubernetes refuses the change of ", secret, " (", words, ")"),
               "is it immutable, or changed by a webhook?");
}

}  // namespace starling
