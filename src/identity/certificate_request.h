// What a node asks a CA with. Any thread.
#pragma once

#include <string>

#include "base/result.h"
#include "identity/svid.h"

namespace starling {

// PKCS#10 in DER, signed with SHA-256. It conveys the key only: SPIRE decides the names.
[[nodiscard]] Result<std::string> MakeCertificateRequest(EVP_PKEY& key);
// PKCS#8 in DER, not encrypted.
[[nodiscard]] Result<std::string> KeyPkcs8(const EVP_PKEY& key);

}  // namespace starling
