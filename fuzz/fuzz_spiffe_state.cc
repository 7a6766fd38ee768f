// What a Workload API sends: certificates, keys and bundles in DER. What is taken must be what the
// headers promise.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/clock.h"
#include "identity/certificate.h"
#include "identity/spiffe_state.h"

namespace {

using starling::IdentityState;
using starling::SvidChoice;
using starling::WorkloadState;

constexpr starling::UtcTime kNow{std::chrono::milliseconds{1'700'000'000'000}};

// A length in two bytes, big-endian, and so many bytes; fewer at the end of the input.
std::string TakeField(std::span<const std::uint8_t>& input) {
  if (input.size() < 2) {
    input = {};
    return "";
  }
  std::size_t size = std::size_t{input[0]} << 8U | input[1];
  input = input.subspan(2);
  size = std::min(size, input.size());
  std::string field(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(size));
  input = input.subspan(size);
  return field;
}

// How many SVIDs, their fields, then names and bundles of federated trust domains.
WorkloadState StateOf(std::span<const std::uint8_t> input) {
  WorkloadState raw;
  if (input.empty()) return raw;
  const std::size_t svids = input.front() % 8;
  input = input.subspan(1);
  for (std::size_t i = 0; i < svids; ++i) {
    starling::SvidFields fields;
    for (std::string* const field :
         {&fields.id, &fields.chain, &fields.key, &fields.bundle, &fields.hint}) {
      *field = TakeField(input);
    }
    raw.svids.push_back(std::move(fields));
  }
  while (!input.empty()) {
    const std::string name = TakeField(input);
    raw.federated[name] = TakeField(input);
  }
  return raw;
}

void Check(const IdentityState& state) {
  for (const auto& [domain, bundle] : state.bundles) {
    const auto id = starling::SpiffeId::Parse("spiffe://" + domain);
    CHECK(id.ok() && id->path().empty());
    for (const auto& root : bundle.roots) CHECK(root != nullptr);
  }
  if (state.svid == nullptr) return;
  X509* const leaf = state.svid->chain.at(0).get();
  const auto named = starling::SpiffeIdOf(*leaf);
  CHECK(named.ok() && *named == state.svid->id);
  CHECK(X509_check_private_key(leaf, state.svid->key.get()) == 1);
  CHECK(!starling::IsCa(*leaf));
  CHECK(state.bundles.contains(std::string(state.svid->id.trust_domain())));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const WorkloadState raw = StateOf({data, size});
  for (const SvidChoice& choice :
       {SvidChoice{}, SvidChoice{.paths = {"*/sl"}, .hint = ""}, SvidChoice{{}, "x"}}) {
    const auto identity = starling::ReadWorkloadState(raw, choice, kNow);
    if (!identity.ok()) {
      CHECK(!starling::NextStep(identity.status()).empty());
      continue;
    }
    CHECK(identity->state != nullptr);
    CHECK(identity->state->svid != nullptr || raw.svids.empty() || !identity->trouble.ok());
    CHECK(identity->trouble.ok() || !starling::NextStep(identity->trouble).empty());
    Check(*identity->state);
  }
  return 0;
}
