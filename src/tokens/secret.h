// A Secret of Kubernetes as its API says it, and what is wanted of one. Values; any thread.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace starling {

struct SecretName {
  std::string space;  // the namespace
  std::string name;
  [[nodiscard]] std::string Text() const { return space + "/" + name; }
  friend auto operator<=>(const SecretName&, const SecretName&) = default;
};
// What Kubernetes takes as the name of a namespace (RFC 1123 label), and of a Secret (subdomain).
[[nodiscard]] bool IsNamespaceName(std::string_view text);
[[nodiscard]] bool IsSecretName(std::string_view text);

struct Secret {
  std::string uid;  // another one with the same name has another
  std::map<std::string, std::string> annotations;
  std::map<std::string, std::string> data;  // decoded
};
// The answer of the API, which must be about this Secret. InvalidArgument names the member.
[[nodiscard]] Result<Secret> ParseSecret(std::string_view json, const SecretName& name);

// What is set; everything else stays as it is.
struct SecretPatch {
  std::map<std::string, std::string> annotations;
  std::map<std::string, std::string> data;  // not encoded
  friend bool operator==(const SecretPatch&, const SecretPatch&) = default;
};
// A JSON merge patch (RFC 7386); "{}" changes nothing.
[[nodiscard]] std::string MergePatchText(const SecretPatch& patch);

// RFC 4648 section 4, with padding; decoding refuses what is not canonical.
[[nodiscard]] std::string Base64Encode(std::string_view bytes);
[[nodiscard]] Result<std::string> Base64Decode(std::string_view text);

// What an answer ≥ 400 means for who patches this Secret: codes kube-unauthenticated,
// kube-forbidden, kube-secret-missing, kube-refused (its own words), kube-unavailable (try again).
// The API's words are repeated without `secrets`.
[[nodiscard]] Status SecretPatchError(int http_status, std::string_view body,
                                      const SecretName& name,
                                      std::span<const std::string> secrets = {});

}  // namespace starling
