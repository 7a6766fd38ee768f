#include "identity/pem_files.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/fs.h"
#include "base/text.h"
#include "identity/bundle_json.h"
#include "identity/certificate.h"

namespace starling {
namespace {

constexpr std::size_t kCaFilesMax = 1000;
constexpr std::string_view kJson = ".json";
constexpr std::string_view kWriteAgain = "write the whole file again";

// Keeps a next step that is there.
Status WithDefaultNext(const Status& status, std::string_view next) {
  return NextStep(status).empty() ? WithNext(status, next) : status;
}

Result<std::string> ReadNamed(const std::string& path) {
  Result<std::string> text = ReadFile(path);
  if (text.ok()) return text;
  return WithDefaultNext(text.status(), "put the file there, readable for this process");
}

Result<std::vector<std::shared_ptr<X509>>> CertificatesOf(const std::string& path,
                                                          const std::string& pem) {
  Result<std::vector<std::shared_ptr<X509>>> certificates = ParseCertificates(pem);
  if (certificates.ok()) return certificates;
  return WithDefaultNext(Annotate(certificates.status(), path), kWriteAgain);
}

Result<std::vector<std::string>> PathsInFolder(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (!IsCaFileName(it->path().filename().string()) || !it->is_regular_file(ignored)) continue;
    paths.push_back(it->path().string());
    if (paths.size() > kCaFilesMax) {
      return WithNext(
          absl::ResourceExhaustedError(StrCat(folder, ": more than ", kCaFilesMax, " files")),
          "put several certificates into one file");
    }
  }
  if (error) {
    return WithNext(absl::NotFoundError(StrCat(folder, ": ", error.message())),
                    "put the folder there, readable for this process");
  }
  if (paths.empty()) {
    return WithNext(absl::NotFoundError(StrCat(folder, ": no CA certificates in this folder")),
                    "put files ending in .pem, .crt, .cer or .json there");
  }
  std::ranges::sort(paths);
  return paths;
}

bool IsTrustDomain(std::string_view name) {
  const Result<SpiffeId> id = SpiffeId::Parse(StrCat("spiffe://", name));
  return id.ok() && id->path().empty();
}

bool IsJson(const PemTexts::Ca& ca) {
  const std::size_t first = ca.text.find_first_not_of(" \t\r\n");
  return ca.file.path.ends_with(kJson) || (first != std::string::npos && ca.text[first] == '{');
}

Result<std::vector<std::shared_ptr<X509>>> CasOf(const PemTexts::Ca& ca) {
  if (!IsJson(ca)) return CertificatesOf(ca.file.path, ca.text);
  Result<BundleDocument> document = ParseBundleJson(ca.text);
  if (!document.ok()) {
    return WithDefaultNext(Annotate(document.status(), ca.file.path), kWriteAgain);
  }
  if (ca.file.trust_domain.empty()) {
    return WithNext(
        absl::InvalidArgumentError(
            StrCat(ca.file.path, ": a SPIFFE bundle does not say of which trust domain it is")),
        StrCat("write --cacert trust.domain=", ca.file.path,
               ", or put it into the folder of --capath as trust.domain.json"));
  }
  return std::move(document->bundle.roots);
}

// The trust domain that a CA certificate speaks for: its own, else the one its file is given for,
// else ours.
Result<std::string> TrustDomainOf(const X509& certificate, const CaFile& file,
                                  const std::string& own_domain) {
  const std::vector<std::string> names = SpiffeNames(certificate);
  if (names.empty()) return file.trust_domain.empty() ? own_domain : file.trust_domain;
  if (names.size() > 1) {
    return WithNext(absl::InvalidArgumentError("it has several SPIFFE IDs"),
                    "give a CA certificate with one name URI:spiffe://… or with none");
  }
  ASSIGN_OR_RETURN(const SpiffeId id, SpiffeId::Parse(names.front()));
  if (!file.trust_domain.empty() && id.trust_domain() != file.trust_domain) {
    return WithNext(
        absl::InvalidArgumentError(StrCat("it is of the trust domain ", id.trust_domain(),
                                          ", and given for ", file.trust_domain)),
        "give each trust domain its own CAs");
  }
  return std::string(id.trust_domain());
}

Status AddCas(const PemTexts::Ca& ca, const std::string& own_domain, IdentityState& state) {
  ASSIGN_OR_RETURN(const std::vector<std::shared_ptr<X509>> certificates, CasOf(ca));
  // Also when it is empty: then this trust domain is known, and nobody of it is believed.
  if (!ca.file.trust_domain.empty()) state.bundles.try_emplace(ca.file.trust_domain);
  for (std::size_t i = 0; i < certificates.size(); ++i) {
    const std::string which = StrCat(ca.file.path, ": certificate ", i + 1);
    if (!IsCa(*certificates[i])) {
      return WithNext(
          absl::InvalidArgumentError(StrCat(which, " is not one of a certificate authority")),
          "give the certificate of the CA that signs the nodes, not one of a node");
    }
    const Result<std::string> domain = TrustDomainOf(*certificates[i], ca.file, own_domain);
    if (!domain.ok()) {
      return WithDefaultNext(Annotate(domain.status(), which), "give another CA certificate");
    }
    state.bundles[*domain].roots.push_back(certificates[i]);
  }
  return absl::OkStatus();
}

Result<std::shared_ptr<Svid>> SvidOf(const PemFiles& files, const PemTexts& texts) {
  auto svid = std::make_shared<Svid>();
  ASSIGN_OR_RETURN(svid->chain, CertificatesOf(files.cert, texts.cert));
  Result<std::shared_ptr<EVP_PKEY>> key = ParseKey(texts.key);
  if (!key.ok()) return WithDefaultNext(Annotate(key.status(), files.key), kWriteAgain);
  svid->key = *std::move(key);
  Result<SpiffeId> id = SpiffeIdOf(*svid->chain.front());
  if (!id.ok()) {
    return WithNext(Annotate(id.status(), files.cert),
                    "put the node's own certificate first, one with the name URI:spiffe://…");
  }
  svid->id = *std::move(id);
  if (!KeyBelongs(*svid->chain.front(), *svid->key)) {
    return WithNext(
        absl::InvalidArgumentError(
            StrCat(files.key, ": this key does not belong to the certificate in ", files.cert)),
        "give the two files of one node");
  }
  SetLife(*svid);
  return svid;
}

// What a peer that trusts the same CAs will make of our certificate: better said at the start, and
// by us.
Status CheckOwnChain(const PemFiles& files, const IdentityState& state, UtcTime at) {
  Status status = VerifyOwnChain(state.svid->chain, state, at);
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

std::vector<CaFile> CaFilesIn(std::string_view cacert) {
  std::vector<CaFile> files;
  while (!cacert.empty()) {
    const std::string_view item = cacert.substr(0, cacert.find(','));
    cacert.remove_prefix(std::min(item.size() + 1, cacert.size()));
    if (item.empty()) continue;
    const std::size_t equals = item.find('=');
    if (equals != std::string_view::npos && IsTrustDomain(item.substr(0, equals))) {
      files.push_back({std::string(item.substr(0, equals)), std::string(item.substr(equals + 1))});
    } else {
      files.push_back({"", std::string(item)});
    }
  }
  return files;
}

bool IsCaFileName(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  const std::string_view ending = name.substr(dot);
  return ending == ".pem" || ending == ".crt" || ending == ".cer" || ending == kJson ||
         (ending.size() == 2 && ending[1] >= '0' && ending[1] <= '9');
}

Result<PemTexts> ReadPemTexts(const PemFiles& files) {
  if (files.cert.empty() || files.key.empty() || (files.cacert.empty() && files.capath.empty())) {
    return WithNext(absl::InvalidArgumentError("an identity from files needs a certificate, its "
                                               "key and the certificates of the CAs to trust"),
                    "give --cert FILE, --key FILE and --cacert FILE (or --capath FOLDER)");
  }
  PemTexts texts;
  ASSIGN_OR_RETURN(texts.cert, ReadNamed(files.cert));
  ASSIGN_OR_RETURN(texts.key, ReadNamed(files.key));
  std::vector<CaFile> cas = CaFilesIn(files.cacert);
  if (!files.capath.empty()) {
    ASSIGN_OR_RETURN(const std::vector<std::string> paths, PathsInFolder(files.capath));
    for (const std::string& path : paths) {
      std::string domain;
      if (path.ends_with(kJson)) domain = std::filesystem::path(path).stem().string();
      if (!domain.empty() && !IsTrustDomain(domain)) {
        return WithNext(
            absl::InvalidArgumentError(StrCat(path, ": its name is not that of a trust domain")),
            "name a SPIFFE bundle after its trust domain, as in partner.org.json");
      }
      cas.push_back({std::move(domain), path});
    }
  }
  for (CaFile& file : cas) {
    ASSIGN_OR_RETURN(std::string text, ReadNamed(file.path));
    texts.cas.push_back({std::move(file), std::move(text)});
  }
  return texts;
}

Result<std::shared_ptr<const IdentityState>> IdentityOf(const PemFiles& files,
                                                        const PemTexts& texts, UtcTime at) {
  auto state = std::make_shared<IdentityState>();
  ASSIGN_OR_RETURN(state->svid, SvidOf(files, texts));
  const std::string own_domain(state->svid->id.trust_domain());
  for (const PemTexts::Ca& ca : texts.cas) RETURN_IF_ERROR(AddCas(ca, own_domain, *state));
  RETURN_IF_ERROR(CheckOwnChain(files, *state, at));
  return std::shared_ptr<const IdentityState>(std::move(state));
}

}  // namespace starling
