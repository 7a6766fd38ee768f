#include "identity/spiffe/join_start.h"

#include <memory>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/fs.h"
#include "base/text.h"
#include "identity/bundle_json.h"
#include "identity/certificate.h"
#include "identity/join_state.h"

namespace starling {
namespace {

constexpr unsigned kFolderMode = 0700;
constexpr unsigned kFileMode = 0600;

}  // namespace

Result<Bundle> ReadBundleFile(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  if (const std::size_t begin = text.find_first_not_of(" \t\r\n");
      begin != std::string::npos && text[begin] == '{') {
    Result<BundleDocument> document = ParseBundleJson(text);
    if (!document.ok()) return Annotate(document.status(), path);
    return std::move(document->bundle);
  }
  Result<std::vector<std::shared_ptr<X509>>> roots = ParseCertificates(text);
  if (!roots.ok()) return Annotate(roots.status(), path);
  return Bundle{*std::move(roots)};
}

Result<Bundle> BundleToAttestBy(const JoinOptions& options, const Bundle& known) {
  if (options.insecure_bootstrap || (options.bundle_file.empty() && !known.roots.empty()))
    return known;
  Result<Bundle> given = ReadBundleFile(options.bundle_file);
  if (!given.ok()) return known.roots.empty() ? std::move(given) : known;
  given->roots.insert(given->roots.end(), known.roots.begin(), known.roots.end());
  return given;
}

Status CheckJoinOptions(const JoinOptions& options) {
  if (options.server_host.empty() || options.server_port == 0) {
    return WithNext(absl::InvalidArgumentError("the address of the SPIRE server is missing"),
                    "give --server-address HOST and --server-port PORT");
  }
  const Result<SpiffeId> id = SpiffeId::Parse(StrCat("spiffe://", options.trust_domain));
  if (!id.ok() || !id->path().empty()) {
    return WithNext(absl::InvalidArgumentError("the trust domain of the SPIRE server is missing "
                                               "or none"),
                    "give its name, as in --spire-trust-domain example.org");
  }
  if (options.state_dir.empty()) {
    return WithNext(absl::InvalidArgumentError("a join token needs a state directory, since it is "
                                               "good only once"),
                    "name one that outlives this process");
  }
  return absl::OkStatus();
}

Status PrepareStateDirectory(const std::string& state_dir, std::size_t bytes) {
  RETURN_IF_ERROR(MakeDirectories(state_dir, kFolderMode));
  const std::string trial = StrCat(state_dir, "/spire-agent.try");
  RETURN_IF_ERROR(RemoveLeftovers(trial));
  RETURN_IF_ERROR(RemoveLeftovers(JoinStatePath(state_dir)));
  // Dropped without Commit(): it leaves nothing behind.
  ASSIGN_OR_RETURN(DurableFile file, DurableFile::Create(trial, kFileMode));
  RETURN_IF_ERROR(file.Append(AsBytes(std::string(bytes, 'x'))));
  return file.Sync();
}

Status CheckBootstrap(const JoinOptions& options, const Log& log) {
  if (options.insecure_bootstrap) {
    log.Warning(
        "identity: insecure bootstrap: whoever answers at {}:{} is believed and gets the join "
        "token. Next: give the bundle of the SPIRE server instead (spire-server bundle show)",
        options.server_host, options.server_port);
    return absl::OkStatus();
  }
  const std::string next =
      "give the CAs of the SPIRE server as a file (spire-server bundle show > FILE)";
  if (options.bundle_file.empty()) {
    return WithNext(WithCode(absl::InvalidArgumentError(
                                 "nothing tells by what the SPIRE server is to be believed"),
                             "no-bootstrap-bundle"),
                    StrCat(next, "; --insecure-bootstrap believes whoever answers"));
  }
  if (options.token.empty() && !options.token_file.empty()) return absl::OkStatus();
  return WithNext(ReadBundleFile(options.bundle_file).status(), next);
}

}  // namespace starling
