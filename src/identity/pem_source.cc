#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/fs.h"
#include "base/text.h"
#include "identity/certificate.h"
#include "identity/svid.h"

namespace starling {
namespace {

constexpr std::size_t kCaFilesMax = 1000;

class FixedSource final : public SvidSource {
 public:
  explicit FixedSource(std::shared_ptr<const IdentityState> state) : state_(std::move(state)) {}
  [[nodiscard]] std::shared_ptr<const IdentityState> Current() const override { return state_; }
  [[nodiscard]] SourceReport Report() const override { return {.source = "a fixed identity"}; }

 private:
  const std::shared_ptr<const IdentityState> state_;
};

Result<std::vector<std::shared_ptr<X509>>> ReadCertificates(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string pem, ReadFile(path));
  Result<std::vector<std::shared_ptr<X509>>> certificates = ParseCertificates(pem);
  if (!certificates.ok()) return Annotate(certificates.status(), path);
  return certificates;
}

// What a folder of CA certificates holds: by their endings, and OpenSSL's hash links
// ("1a2b3c4d.0").
bool LooksLikeCertificates(const std::filesystem::path& path) {
  const std::string ending = path.extension().string();
  return ending == ".pem" || ending == ".crt" || ending == ".cer" ||
         (ending.size() == 2 && ending[1] >= '0' && ending[1] <= '9');
}

Result<std::vector<std::string>> CaFilesIn(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (!it->is_regular_file(ignored) || !LooksLikeCertificates(it->path())) continue;
    paths.push_back(it->path().string());
    if (paths.size() > kCaFilesMax) {
      return absl::ResourceExhaustedError(StrCat(folder, ": more than ", kCaFilesMax, " files"));
    }
  }
  if (error) return absl::NotFoundError(StrCat(folder, ": ", error.message()));
  if (paths.empty()) {
    return WithNext(absl::NotFoundError(StrCat(folder, ": no CA certificates in this folder")),
                    "put files ending in .pem, .crt or .cer there");
  }
  std::ranges::sort(paths);
  return paths;
}

Status AddCas(const std::string& path, const std::string& own_domain, IdentityState& state) {
  ASSIGN_OR_RETURN(const std::vector<std::shared_ptr<X509>> certificates, ReadCertificates(path));
  for (std::size_t i = 0; i < certificates.size(); ++i) {
    const X509& certificate = *certificates[i];
    if (!IsCa(certificate)) {
      return WithNext(absl::InvalidArgumentError(StrCat(path, ": certificate ", i + 1,
                                                        " is not one of a certificate authority")),
                      "give the certificate of the CA that signs the nodes, not one of a node");
    }
    std::string domain = own_domain;
    if (!UriNames(certificate).empty()) {
      const Result<SpiffeId> id = SpiffeIdOf(certificate);
      if (!id.ok()) return Annotate(id.status(), StrCat(path, ": certificate ", i + 1));
      domain = std::string(id->trust_domain());
    }
    state.bundles[domain].roots.push_back(certificates[i]);
  }
  return absl::OkStatus();
}

Result<std::shared_ptr<Svid>> ReadSvid(const PemFiles& files) {
  auto svid = std::make_shared<Svid>();
  ASSIGN_OR_RETURN(svid->chain, ReadCertificates(files.cert));
  ASSIGN_OR_RETURN(const std::string key, ReadFile(files.key));
  Result<std::shared_ptr<EVP_PKEY>> parsed = ParseKey(key);
  if (!parsed.ok()) return Annotate(parsed.status(), files.key);
  svid->key = *std::move(parsed);
  Result<SpiffeId> id = SpiffeIdOf(*svid->chain.front());
  if (!id.ok()) {
    return WithNext(Annotate(id.status(), files.cert),
                    "put the node's own certificate first, one with the name URI:spiffe://…");
  }
  svid->id = *std::move(id);
  if (X509_check_private_key(svid->chain.front().get(), svid->key.get()) != 1) {
    static_cast<void>(TakeOpenSslErrors());
    return WithNext(
        absl::InvalidArgumentError(
            StrCat(files.key, ": this key does not belong to the certificate in ", files.cert)),
        "give the two files of one node");
  }
  svid->not_before = NotBefore(*svid->chain.front());
  svid->not_after = NotAfter(*svid->chain.front());
  for (const auto& certificate : svid->chain) {
    svid->not_after = std::min(svid->not_after, NotAfter(*certificate));
  }
  return svid;
}

// What a peer that trusts the same CAs will make of our certificate: better said at the start, and
// by us.
Status CheckOwnChain(const PemFiles& files, const IdentityState& state, UtcTime at) {
  std::vector<X509*> chain;
  for (const auto& certificate : state.svid->chain) chain.push_back(certificate.get());
  Status status = VerifyPeer(chain, state, PeerPolicy{{}, {"*"}}, at).status();
  if (status.ok()) return status;
  const std::string code = StableCode(status);
  std::string next = "have a new certificate issued";
  if (code == "unknown-authority" || code == "unknown-trust-domain") {
    next =
        "give the CA that signed it with --cacert or --capath, and intermediate CAs in the "
        "certificate file";
  } else if (code == "not-yet-valid") {
    next = "set this machine's clock, or wait";
  }
  return WithNext(Annotate(status, files.cert), next);
}

}  // namespace

std::unique_ptr<SvidSource> MakeFixedSource(std::shared_ptr<const IdentityState> state) {
  return std::make_unique<FixedSource>(std::move(state));
}

Result<std::unique_ptr<SvidSource>> LoadPemSource(const PemFiles& files, UtcTime at) {
  if (files.cert.empty() || files.key.empty() || (files.cacert.empty() && files.capath.empty())) {
    return WithNext(absl::InvalidArgumentError("an identity from files needs a certificate, its "
                                               "key and the certificates of the CAs to trust"),
                    "give --cert FILE, --key FILE and --cacert FILE (or --capath FOLDER)");
  }
  auto state = std::make_shared<IdentityState>();
  ASSIGN_OR_RETURN(state->svid, ReadSvid(files));
  const std::string own_domain(state->svid->id.trust_domain());
  if (!files.cacert.empty()) RETURN_IF_ERROR(AddCas(files.cacert, own_domain, *state));
  if (!files.capath.empty()) {
    ASSIGN_OR_RETURN(const std::vector<std::string> paths, CaFilesIn(files.capath));
    for (const std::string& path : paths) RETURN_IF_ERROR(AddCas(path, own_domain, *state));
  }
  RETURN_IF_ERROR(CheckOwnChain(files, *state, at));
  return MakeFixedSource(std::move(state));
}

}  // namespace starling
