// `starling identity show`: what this process would show to others now, whom it believes, and whom
// it lets in as what.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "crypto/json.h"
#include "identity/svid.h"

namespace starling {

// A row of the authorisation table: in which role a peer comes, and the IDs that have it.
using PeerRole = std::pair<std::string, PeerPolicy>;

[[nodiscard]] std::string IdentityText(const SvidSource& source, const std::vector<PeerRole>& roles,
                                       UtcTime now);
[[nodiscard]] Json IdentityJson(const SvidSource& source, const std::vector<PeerRole>& roles,
                                UtcTime now);

}  // namespace starling
