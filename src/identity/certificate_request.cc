#include "identity/certificate_request.h"

#include "base/text.h"
#include "identity/certificate.h"
#include "openssl/crypto.h"

namespace starling {
namespace {

using RequestPtr = Owned<X509_REQ, &X509_REQ_free>;
using Pkcs8Ptr = Owned<PKCS8_PRIV_KEY_INFO, &PKCS8_PRIV_KEY_INFO_free>;

Status Failure(std::string_view what) {
  return absl::InternalError(StrCat(what, ": ", TakeOpenSslErrors()));
}

// What an i2d function of OpenSSL left at `bytes`; overwritten there, since it may be a key.
std::string TakeDer(unsigned char* bytes, int size) {
  std::string der(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
  OPENSSL_clear_free(bytes, der.size());
  return der;
}

}  // namespace

Result<std::string> MakeCertificateRequest(EVP_PKEY& key) {
  const RequestPtr request(X509_REQ_new());
  unsigned char* der = nullptr;
  if (!request || X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) != 1 ||
      X509_REQ_set_pubkey(request.get(), &key) != 1 ||
      X509_REQ_sign(request.get(), &key, EVP_sha256()) == 0) {
    return Failure("making a certificate request");
  }
  const int size = i2d_X509_REQ(request.get(), &der);
  if (size <= 0) return Failure("writing a certificate request");
  return TakeDer(der, size);
}

Result<std::string> KeyPkcs8(const EVP_PKEY& key) {
  const Pkcs8Ptr pkcs8(EVP_PKEY2PKCS8(&key));
  unsigned char* der = nullptr;
  const int size = pkcs8 ? i2d_PKCS8_PRIV_KEY_INFO(pkcs8.get(), &der) : 0;
  if (size <= 0) return Failure("writing a key");
  return TakeDer(der, size);
}

}  // namespace starling
