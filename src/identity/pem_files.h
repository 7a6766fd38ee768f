// Reading an identity from PEM files: first their bytes, then what they say, so that who looks
// again can tell whether anything is new. Errors name the file and the next step. Any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "identity/svid.h"

namespace starling {

// A file of CA certificates, and the trust domain that it is given for; "" when none is named.
struct CaFile {
  std::string trust_domain;
  std::string path;
};
// What PemFiles::cacert names. "partner.org=FILE" names a trust domain if what stands before the
// first "=" can be one; a file of such a name is written "./a=b".
[[nodiscard]] std::vector<CaFile> CaFilesIn(std::string_view cacert);

// The bytes of the files of one moment, unjudged.
struct PemTexts {
  struct Ca {
    CaFile file;
    std::string text;
  };
  std::string cert;
  std::string key;
  std::vector<Ca> cas;  // the file first, then those of the folder by their names
};

// Fails when a file is missing, cannot be read or is longer than 1 MiB; when a name is not given;
// when the folder of CAs has none, or more than 1,000.
[[nodiscard]] Result<PemTexts> ReadPemTexts(const PemFiles& files);
// Checks what the texts say at `at`: the key belongs to the certificate, exactly one URI name, a
// SPIFFE ID; each CA is one; the chain is good for whoever trusts these CAs (VerifyPeer). `files`
// is for the errors.
[[nodiscard]] Result<std::shared_ptr<const IdentityState>> IdentityOf(const PemFiles& files,
                                                                      const PemTexts& texts,
                                                                      UtcTime at);
// Whether a file of this name in the folder of CAs is read: .pem, .crt, .cer, OpenSSL's hash links
// ("1a2b3c4d.0"), and .json.
[[nodiscard]] bool IsCaFileName(std::string_view name);

}  // namespace starling
