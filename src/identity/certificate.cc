#include "identity/certificate.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"
#include "openssl/bio.h"
#include "openssl/ec.h"
#include "openssl/err.h"
#include "openssl/pem.h"
#include "openssl/x509v3.h"

namespace starling {
namespace {

using BioPtr = Owned<BIO, &BIO_free>;
using BigNumPtr = Owned<BIGNUM, &BN_free>;
using ExtensionPtr = Owned<X509_EXTENSION, &X509_EXTENSION_free>;
using NamesPtr = Owned<GENERAL_NAMES, &GENERAL_NAMES_free>;
using NamePtr = Owned<GENERAL_NAME, &GENERAL_NAME_free>;
using Pkcs8Ptr = Owned<PKCS8_PRIV_KEY_INFO, &PKCS8_PRIV_KEY_INFO_free>;

constexpr int kSerialBits = 127;
constexpr long kVersion3 = 2;  // X.509 counts from zero.
constexpr std::size_t kCertificatesMax = 4096;

Status OpenSslFailure(std::string_view what) {
  return absl::InternalError(StrCat(what, ": ", TakeOpenSslErrors()));
}

std::time_t Seconds(UtcTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}

UtcTime FromAsn1(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return UtcTime{};
  return UtcTime{std::chrono::seconds{timegm(&parts)}};
}

Status AddExtension(X509& certificate, const X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, const_cast<X509*>(issuer != nullptr ? issuer : &certificate),
                 &certificate, nullptr, nullptr, 0);
  const ExtensionPtr extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (!extension || X509_add_ext(&certificate, extension.get(), -1) != 1) {
    return OpenSslFailure(StrCat("certificate extension ", value));
  }
  return absl::OkStatus();
}

// Built from parts, not from OpenSSL's configuration language, in which a comma in a name would add
// another.
Status AddName(GENERAL_NAMES& names, int type, const std::string& value) {
  NamePtr name(GENERAL_NAME_new());
  if (type == GEN_IPADD) {
    ASN1_OCTET_STRING* const address = a2i_IPADDRESS(value.c_str());
    if (address == nullptr) {
      return absl::InvalidArgumentError(StrCat("not an IP address: ", Printable(value)));
    }
    GENERAL_NAME_set0_value(name.get(), type, address);
  } else {
    ASN1_IA5STRING* const text = ASN1_IA5STRING_new();
    if (text == nullptr ||
        ASN1_STRING_set(text, value.data(), static_cast<int>(value.size())) != 1) {
      return OpenSslFailure("certificate name");
    }
    GENERAL_NAME_set0_value(name.get(), type, text);
  }
  if (sk_GENERAL_NAME_push(&names, name.get()) == 0) return OpenSslFailure("certificate name");
  static_cast<void>(name.release());
  return absl::OkStatus();
}

Status AddAlternativeNames(X509& certificate, const CertificateSpec& spec) {
  const NamesPtr names(GENERAL_NAMES_new());
  for (const std::string& uri : spec.uris) RETURN_IF_ERROR(AddName(*names, GEN_URI, uri));
  for (const std::string& name : spec.dns) RETURN_IF_ERROR(AddName(*names, GEN_DNS, name));
  for (const std::string& address : spec.ips) RETURN_IF_ERROR(AddName(*names, GEN_IPADD, address));
  if (sk_GENERAL_NAME_num(names.get()) == 0) return absl::OkStatus();
  if (X509_add1_ext_i2d(&certificate, NID_subject_alt_name, names.get(), 0, 0) != 1) {
    return OpenSslFailure("certificate names");
  }
  return absl::OkStatus();
}

Status AddExtensions(X509& certificate, const CertificateSpec& spec, const X509* issuer) {
  std::string constraints = spec.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE";
  if (spec.path_length >= 0) StrAppend(&constraints, ",pathlen:", spec.path_length);
  RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_basic_constraints, constraints));
  if (!spec.key_usage.empty()) {
    RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_key_usage, spec.key_usage));
  }
  if (!spec.is_ca && !spec.extended_key_usage.empty()) {
    RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_ext_key_usage, spec.extended_key_usage));
  }
  RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_subject_key_identifier, "hash"));
  RETURN_IF_ERROR(AddExtension(certificate, issuer, NID_authority_key_identifier, "keyid:always"));
  return AddAlternativeNames(certificate, spec);
}

Status SetSubject(X509& certificate, const std::string& common_name) {
  X509_NAME* const subject = X509_get_subject_name(&certificate);
  const auto add = [&](const char* field, const std::string& value) {
    return X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1;
  };
  if (!add("O", "Starling") || (!common_name.empty() && !add("CN", common_name))) {
    return OpenSslFailure("certificate subject");
  }
  return absl::OkStatus();
}

Status SetSerial(X509& certificate) {
  const BigNumPtr serial(BN_new());
  if (BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) != 1 ||
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(&certificate)) == nullptr) {
    return OpenSslFailure("certificate serial number");
  }
  return absl::OkStatus();
}

std::string TakeText(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

bool NamesSpiffe(std::string_view uri) {
  constexpr std::string_view kScheme = "spiffe:";
  return std::ranges::equal(uri.substr(0, kScheme.size()), kScheme, [](char c, char lower) {
    return c == lower || (c >= 'A' && c <= 'Z' && c - 'A' + 'a' == lower);
  });
}

BioPtr Reader(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace

Result<KeyPtr> MakeKey() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) return OpenSslFailure("making a key");
  return key;
}

Result<X509Ptr> MakeCertificate(const CertificateSpec& spec, EVP_PKEY& key, const Issuer* issuer) {
  X509Ptr certificate(X509_new());
  if (!certificate || X509_set_version(certificate.get(), kVersion3) != 1) {
    return OpenSslFailure("making a certificate");
  }
  RETURN_IF_ERROR(SetSerial(*certificate));
  RETURN_IF_ERROR(SetSubject(*certificate, spec.common_name));
  const X509_NAME* const issuer_name =
      X509_get_subject_name(issuer != nullptr ? &issuer->certificate : certificate.get());
  if (X509_set_issuer_name(certificate.get(), issuer_name) != 1 ||
      X509_set_pubkey(certificate.get(), &key) != 1 ||
      ASN1_TIME_set(X509_getm_notBefore(certificate.get()), Seconds(spec.not_before)) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), Seconds(spec.not_after)) == nullptr) {
    return OpenSslFailure("making a certificate");
  }
  RETURN_IF_ERROR(
      AddExtensions(*certificate, spec, issuer != nullptr ? &issuer->certificate : nullptr));
  EVP_PKEY* const signer = issuer != nullptr ? &issuer->key : &key;
  if (X509_sign(certificate.get(), signer, EVP_sha256()) == 0) {
    return OpenSslFailure("signing a certificate");
  }
  return certificate;
}

Result<std::string> CertificatePem(const X509& certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(bio.get(), &certificate) != 1) return OpenSslFailure("writing PEM");
  return TakeText(bio.get());
}

Result<std::string> KeyPem(const EVP_PKEY& key) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PKCS8PrivateKey(bio.get(), &key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return OpenSslFailure("writing PEM");
  }
  return TakeText(bio.get());
}

Result<std::vector<std::shared_ptr<X509>>> ParseCertificates(std::string_view pem) {
  ERR_clear_error();
  const BioPtr bio = Reader(pem);
  std::vector<std::shared_ptr<X509>> certificates;
  while (X509* const certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(certificate, &X509_free);
    if (certificates.size() > kCertificatesMax) {
      return absl::ResourceExhaustedError(StrCat("more than ", kCertificatesMax, " certificates"));
    }
  }
  // The end of the text shows as "no start line"; anything else is a broken block.
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string problem = TakeOpenSslErrors();
  if (!at_end) {
    return absl::InvalidArgumentError(
        StrCat("certificate ", certificates.size() + 1, " is broken: ", problem));
  }
  if (certificates.empty()) {
    return absl::InvalidArgumentError(
        "no certificate in it (PEM is wanted: -----BEGIN CERTIFICATE-----)");
  }
  return certificates;
}

Result<std::shared_ptr<EVP_PKEY>> ParseKey(std::string_view pem) {
  ERR_clear_error();
  const BioPtr bio = Reader(pem);
  // Without this OpenSSL would ask for a password at the terminal.
  const auto no_password = [](char*, int, int, void*) { return -1; };
  std::shared_ptr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr),
                                &EVP_PKEY_free);
  if (key) return key;
  const bool encrypted = pem.find("ENCRYPTED") != std::string_view::npos;
  static_cast<void>(TakeOpenSslErrors());  // It names no cause that a user would recognise.
  if (encrypted) {
    return WithNext(absl::InvalidArgumentError("the private key is encrypted with a password"),
                    "decrypt it: openssl pkey -in KEY -out NEWKEY");
  }
  return absl::InvalidArgumentError(
      "no private key in it (PEM is wanted: -----BEGIN PRIVATE KEY-----)");
}

Result<std::vector<std::shared_ptr<X509>>> ParseCertificatesDer(std::string_view der,
                                                                std::size_t count_max) {
  std::vector<std::shared_ptr<X509>> certificates;
  const auto* next = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* const end = next + der.size();
  while (next != end) {
    if (certificates.size() == count_max) {
      return absl::ResourceExhaustedError(StrCat("more than ", count_max, " certificates"));
    }
    X509* const certificate = d2i_X509(nullptr, &next, static_cast<long>(end - next));
    if (certificate == nullptr) {
      return absl::InvalidArgumentError(
          StrCat("certificate ", certificates.size() + 1, " is broken: ", TakeOpenSslErrors()));
    }
    certificates.emplace_back(certificate, &X509_free);
  }
  return certificates;
}

Result<std::shared_ptr<EVP_PKEY>> ParseKeyDer(std::string_view der) {
  const auto* next = reinterpret_cast<const unsigned char*>(der.data());
  const unsigned char* const end = next + der.size();
  const Pkcs8Ptr pkcs8(d2i_PKCS8_PRIV_KEY_INFO(nullptr, &next, static_cast<long>(der.size())));
  std::shared_ptr<EVP_PKEY> key;
  if (pkcs8 && next == end) key = {EVP_PKCS82PKEY(pkcs8.get()), &EVP_PKEY_free};
  static_cast<void>(TakeOpenSslErrors());  // They name no cause that a user would recognise.
  if (!key) return absl::InvalidArgumentError("the private key is no PKCS#8 in DER");
  return key;
}

bool KeyBelongs(const X509& certificate, const EVP_PKEY& key) {
  if (X509_check_private_key(&certificate, &key) == 1) return true;
  static_cast<void>(TakeOpenSslErrors());
  return false;
}

void SetLife(Svid& svid) {
  svid.not_before = NotBefore(*svid.chain.front());
  svid.not_after = NotAfter(*svid.chain.front());
  for (const auto& certificate : svid.chain) {
    svid.not_after = std::min(svid.not_after, NotAfter(*certificate));
  }
}

std::vector<std::string> UriNames(const X509& certificate) {
  std::vector<std::string> uris;
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names != nullptr && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int type = 0;
    const void* const value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &type);
    if (type != GEN_URI) continue;
    const auto* const text = static_cast<const ASN1_IA5STRING*>(value);
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                      static_cast<std::size_t>(ASN1_STRING_length(text)));
  }
  return uris;
}

std::vector<std::string> SpiffeNames(const X509& certificate) {
  std::vector<std::string> names = UriNames(certificate);
  std::erase_if(names, [](const std::string& uri) { return !NamesSpiffe(uri); });
  return names;
}

Result<SpiffeId> SpiffeIdOf(const X509& certificate) {
  const std::vector<std::string> uris = UriNames(certificate);
  if (uris.empty()) {
    return absl::InvalidArgumentError(
        "the certificate holds no SPIFFE ID (a URI name spiffe://…), so it is no X.509-SVID");
  }
  if (uris.size() > 1) {
    return absl::InvalidArgumentError(
        StrCat("the certificate holds ", uris.size(), " URI names; an X.509-SVID has exactly one"));
  }
  return SpiffeId::Parse(uris.front());
}

bool IsCa(const X509& certificate) {
  // X509_check_ca caches what it finds in the object (under its lock): hence not const in its
  // interface.
  return X509_check_ca(const_cast<X509*>(&certificate)) == 1;
}

UtcTime NotBefore(const X509& certificate) { return FromAsn1(X509_get0_notBefore(&certificate)); }
UtcTime NotAfter(const X509& certificate) { return FromAsn1(X509_get0_notAfter(&certificate)); }

std::string TakeOpenSslErrors() {
  std::string text;
  while (const unsigned long code = ERR_get_error()) {
    const char* const reason = ERR_reason_error_string(code);
    if (!text.empty()) text += "; ";
    text += reason != nullptr ? std::string(reason) : StrCat("OpenSSL error ", code);
  }
  return text.empty() ? "unknown OpenSSL error" : text;
}

}  // namespace starling
