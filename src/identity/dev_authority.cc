#include "identity/dev_authority.h"

#include <filesystem>
#include <utility>

#include "base/fs.h"
#include "base/text.h"
#include "identity/certificate.h"

namespace starling {
namespace {

constexpr auto kLife = std::chrono::days(3652);       // ten years
constexpr auto kBackdated = std::chrono::minutes(5);  // clocks differ a little
constexpr unsigned kKeyMode = 0600;
constexpr unsigned kFolderMode = 0700;
constexpr std::string_view kCaStem = "ca";

std::string CertificatePath(const std::string& directory, std::string_view stem) {
  return StrCat(directory, "/", stem, "-cert.pem");
}
std::string KeyPath(const std::string& directory, std::string_view stem) {
  return StrCat(directory, "/", stem, "-key.pem");
}

std::shared_ptr<X509> Shared(X509Ptr certificate) { return {certificate.release(), &X509_free}; }
std::shared_ptr<EVP_PKEY> Shared(KeyPtr key) { return {key.release(), &EVP_PKEY_free}; }

}  // namespace

struct DevAuthority::Impl {
  std::string trust_domain;
  std::shared_ptr<X509> certificate;
  std::shared_ptr<EVP_PKEY> key;
};

DevAuthority::DevAuthority(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DevAuthority::DevAuthority(DevAuthority&&) noexcept = default;
DevAuthority& DevAuthority::operator=(DevAuthority&&) noexcept = default;
DevAuthority::~DevAuthority() = default;

Result<DevAuthority> DevAuthority::InMemory(const std::string& trust_domain, UtcTime now) {
  ASSIGN_OR_RETURN(const SpiffeId id, SpiffeId::Parse(StrCat("spiffe://", trust_domain)));
  if (!id.path().empty()) {
    return absl::InvalidArgumentError(StrCat(trust_domain, ": a trust domain has no path"));
  }
  ASSIGN_OR_RETURN(KeyPtr key, MakeKey());
  const CertificateSpec spec{.common_name = StrCat("development authority of ", trust_domain),
                             .uris = {id.text()},
                             .is_ca = true,
                             .key_usage = "critical,keyCertSign,cRLSign",
                             .not_before = now - kBackdated,
                             .not_after = now + kLife};
  ASSIGN_OR_RETURN(X509Ptr certificate, MakeCertificate(spec, *key, nullptr));
  return DevAuthority(std::make_unique<Impl>(
      Impl{trust_domain, Shared(std::move(certificate)), Shared(std::move(key))}));
}

Result<DevAuthority> DevAuthority::LoadOrCreate(const std::string& directory,
                                                const std::string& trust_domain, UtcTime now) {
  const std::string certificate_path = CertificatePath(directory, kCaStem);
  const std::string key_path = KeyPath(directory, kCaStem);
  const Result<std::string> key_pem = ReadFile(key_path);
  if (absl::IsNotFound(key_pem.status())) {
    ASSIGN_OR_RETURN(DevAuthority made, InMemory(trust_domain, now));
    RETURN_IF_ERROR(MakeDirectories(directory, kFolderMode));
    ASSIGN_OR_RETURN(const std::string certificate, CertificatePem(*made.impl_->certificate));
    ASSIGN_OR_RETURN(const std::string key, KeyPem(*made.impl_->key));
    // The key last: while it is missing, the next start makes both anew.
    RETURN_IF_ERROR(WriteFileDurably(certificate_path, certificate));
    RETURN_IF_ERROR(WriteFileDurably(key_path, key, kKeyMode));
    return made;
  }
  RETURN_IF_ERROR(key_pem.status());
  auto impl = std::make_unique<Impl>();
  Result<std::shared_ptr<EVP_PKEY>> key = ParseKey(*key_pem);
  if (!key.ok()) return Annotate(key.status(), key_path);
  impl->key = *std::move(key);
  ASSIGN_OR_RETURN(const std::string certificate_pem, ReadFile(certificate_path));
  const auto certificates = ParseCertificates(certificate_pem);
  if (!certificates.ok()) return Annotate(certificates.status(), certificate_path);
  impl->certificate = certificates->front();
  const Result<SpiffeId> id = SpiffeIdOf(*impl->certificate);
  if (!id.ok()) return Annotate(id.status(), certificate_path);
  impl->trust_domain = std::string(id->trust_domain());
  if (impl->trust_domain != trust_domain) {
    return WithNext(
        absl::FailedPreconditionError(StrCat(certificate_path, ": is of the trust domain ",
                                             impl->trust_domain, ", not ", trust_domain)),
        "name another folder, or that trust domain");
  }
  if (X509_check_private_key(impl->certificate.get(), impl->key.get()) != 1) {
    return absl::InvalidArgumentError(
        StrCat(key_path, ": this key does not belong to ", certificate_path));
  }
  return DevAuthority(std::move(impl));
}

Result<std::shared_ptr<const Svid>> DevAuthority::Issue(const Request& request) const {
  auto svid = std::make_shared<Svid>();
  ASSIGN_OR_RETURN(svid->id,
                   SpiffeId::Parse(StrCat("spiffe://", impl_->trust_domain, request.path)));
  ASSIGN_OR_RETURN(KeyPtr key, MakeKey());
  const CertificateSpec spec{.uris = {svid->id.text()},
                             .dns = request.dns,
                             .ips = request.ips,
                             .not_before = request.not_before,
                             .not_after = request.not_after};
  const Issuer issuer{*impl_->certificate, *impl_->key};
  ASSIGN_OR_RETURN(X509Ptr certificate, MakeCertificate(spec, *key, &issuer));
  svid->chain.push_back(Shared(std::move(certificate)));
  svid->key = Shared(std::move(key));
  svid->not_before = request.not_before;
  svid->not_after = request.not_after;
  return std::shared_ptr<const Svid>(std::move(svid));
}

Result<PemFiles> DevAuthority::IssueFiles(const Request& request, const std::string& directory,
                                          const std::string& stem) const {
  ASSIGN_OR_RETURN(const std::shared_ptr<const Svid> svid, Issue(request));
  ASSIGN_OR_RETURN(const std::string certificate, CertificatePem(*svid->chain.front()));
  ASSIGN_OR_RETURN(const std::string key, KeyPem(*svid->key));
  ASSIGN_OR_RETURN(const std::string ca, CertificatePem(*impl_->certificate));
  const PemFiles files{.cert = CertificatePath(directory, stem),
                       .key = KeyPath(directory, stem),
                       .cacert = CertificatePath(directory, kCaStem),
                       .capath = ""};
  RETURN_IF_ERROR(MakeDirectories(directory, kFolderMode));
  RETURN_IF_ERROR(WriteFileDurably(files.key, key, kKeyMode));
  RETURN_IF_ERROR(WriteFileDurably(files.cert, certificate));
  const Result<std::string> there = ReadFile(files.cacert);
  if (!there.ok() || *there != ca) RETURN_IF_ERROR(WriteFileDurably(files.cacert, ca));
  return files;
}

Bundle DevAuthority::bundle() const { return Bundle{{impl_->certificate}}; }
const std::string& DevAuthority::trust_domain() const { return impl_->trust_domain; }

}  // namespace starling
