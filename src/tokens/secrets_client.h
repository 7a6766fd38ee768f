// SecretsClient: patches Secrets of Kubernetes from within a pod, and nothing else: the one verb
// that its Role needs. The answer to a patch is the whole Secret, so that a patch of nothing reads
// it. One thread; a request at a time, each on a connection of its own.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "http/client.h"
#include "tokens/secret.h"

namespace starling {

struct KubeOptions {
  Endpoint server;         // as KUBERNETES_SERVICE_HOST and _PORT say; its certificate is for that
  std::string token_file;  // read for each request: it is renewed meanwhile
  std::string ca_file;     // PEM, read for each request, too
  Duration connect_timeout = std::chrono::seconds(10);
  Duration answer_timeout = std::chrono::seconds(30);
};

class SecretsClient {
 public:
  // Borrows the clock, by which the server's certificate is checked.
  SecretsClient(KubeOptions options, const Clock& clock)
      : options_(std::move(options)), clock_(clock) {}

  // The Secret as it is afterwards. Errors are SecretPatchError's, and the same code
  // kube-unavailable where the answer did not come or cannot be used; kube-unreachable where the
  // connection failed, so that no Secret can be patched now. No error holds the token or data of
  // the patch. `manager` is who changed which field in the Secret's own list.
  [[nodiscard]] Result<Secret> Patch(const SecretName& name, const SecretPatch& patch,
                                     const std::string& manager, const std::stop_token& stop);

 private:
  const KubeOptions options_;
  const Clock& clock_;
};

}  // namespace starling
