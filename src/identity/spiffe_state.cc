#include "identity/spiffe_state.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/bytes.h"
#include "base/text.h"
#include "identity/certificate.h"

namespace starling {
namespace {

constexpr std::size_t kBytesMax = std::size_t{4} << 20;
constexpr std::size_t kSvidsMax = 256;
constexpr std::size_t kFederatedMax = 1000;
constexpr std::size_t kListedMax = 10;  // IDs in an error

Status TooLarge(const std::string& what) {
  return WithNext(WithCode(absl::ResourceExhaustedError(what), "too-large"),
                  "have fewer registration entries match this process");
}

Status BadSvid(const Status& why) {
  return WithNext(WithCode(Status(absl::StatusCode::kUnauthenticated, why.message()), "bad-svid"),
                  "look at the log of the SPIRE agent, and at the entry of this process");
}

Status CheckSize(const WorkloadState& raw) {
  if (raw.svids.size() > kSvidsMax) return TooLarge(StrCat("more than ", kSvidsMax, " SVIDs"));
  if (raw.federated.size() > kFederatedMax) {
    return TooLarge(StrCat("more than ", kFederatedMax, " federated trust domains"));
  }
  std::size_t bytes = 0;
  for (const SvidFields& fields : raw.svids) {
    bytes += fields.id.size() + fields.chain.size() + fields.key.size() + fields.bundle.size() +
             fields.hint.size();
  }
  for (const auto& [name, bundle] : raw.federated) bytes += name.size() + bundle.size();
  if (bytes > kBytesMax) return TooLarge(StrCat("more than ", kBytesMax, " bytes"));
  return absl::OkStatus();
}

struct Offer {
  std::shared_ptr<const Svid> svid;
  Bundle bundle;
  Status distrust;  // why a peer with this bundle will not believe the SVID
  bool in_time = false;
};

// The time to check a chain at: `at`, or the nearest at which every certificate of it is valid, so
// that an expired SVID is still checked for everything else.
UtcTime WithinValidity(const std::vector<std::shared_ptr<X509>>& chain, UtcTime at) {
  UtcTime begin = NotBefore(*chain.front()), end = NotAfter(*chain.front());
  for (const auto& certificate : chain) {
    begin = std::max(begin, NotBefore(*certificate));
    end = std::min(end, NotAfter(*certificate));
  }
  if (at < begin) return begin;
  return at < end ? at : end - std::chrono::seconds(1);
}

Result<std::shared_ptr<Svid>> ReadSvid(const SvidFields& fields) {
  auto svid = std::make_shared<Svid>();
  ASSIGN_OR_RETURN(svid->id, SpiffeId::Parse(fields.id));
  ASSIGN_OR_RETURN(svid->chain, ParseCertificatesDer(fields.chain, kChainMax));
  if (svid->chain.empty()) return absl::InvalidArgumentError("it has no certificate");
  ASSIGN_OR_RETURN(const SpiffeId named, SpiffeIdOf(*svid->chain.front()));
  if (named != svid->id) {
    return absl::InvalidArgumentError(StrCat("its certificate is one of ", named.text()));
  }
  ASSIGN_OR_RETURN(svid->key, ParseKeyDer(fields.key));
  if (!KeyBelongs(*svid->chain.front(), *svid->key)) {
    return absl::InvalidArgumentError("the key does not belong to the certificate");
  }
  SetLife(*svid);
  return svid;
}

Result<Offer> ReadOffer(const SvidFields& fields, UtcTime at) {
  ASSIGN_OR_RETURN(const std::shared_ptr<Svid> svid, ReadSvid(fields));
  Result<std::vector<std::shared_ptr<X509>>> roots = ParseCertificatesDer(fields.bundle, kRootsMax);
  if (!roots.ok()) return Annotate(roots.status(), "its bundle");
  Offer offer{.svid = svid, .bundle = {*std::move(roots)}, .distrust = {}};
  const IdentityState trusting{.svid = nullptr,
                               .bundles = {{std::string(svid->id.trust_domain()), offer.bundle}}};
  const UtcTime checked_at = WithinValidity(svid->chain, at);
  offer.in_time = checked_at == at;
  const Status status = VerifyOwnChain(svid->chain, trusting, checked_at);
  if (StableCode(status) == "bad-svid") return status;
  // With an empty bundle the leaf was checked, and there is nothing to follow its chain to.
  if (!status.ok() && !offer.bundle.roots.empty()) {
    offer.distrust =
        WithNext(status, "look at the SPIRE server: is the CA that signed it revoked?");
  }
  return offer;
}

std::string Named(const SvidFields& fields) {
  return StrCat("SVID ", fields.id.empty() ? "without an ID" : Printable(fields.id));
}

std::vector<const SvidFields*> Fitting(const std::vector<SvidFields>& svids,
                                       const SvidChoice& choice) {
  const PeerPolicy policy{{}, choice.paths};
  std::vector<const SvidFields*> fitting;
  for (const SvidFields& fields : svids) {
    bool fits = choice.paths.empty();
    if (!choice.hint.empty()) {
      fits = fields.hint == choice.hint;
    } else if (!fits) {
      const Result<SpiffeId> id = SpiffeId::Parse(fields.id);
      fits = id.ok() && policy.Allows(*id);
    }
    if (fits) fitting.push_back(&fields);
  }
  return fitting;
}

Status NoneFits(const std::vector<SvidFields>& svids, const SvidChoice& choice) {
  std::string offered, wanted;
  for (std::size_t i = 0; i < std::min(svids.size(), kListedMax); ++i) {
    StrAppend(&offered, i == 0 ? "" : ", ", Printable(svids[i].id));
    if (!svids[i].hint.empty()) StrAppend(&offered, " (hint ", Printable(svids[i].hint), ")");
  }
  if (svids.size() > kListedMax) StrAppend(&offered, " and ", svids.size() - kListedMax, " more");
  for (const std::string& path : choice.paths) StrAppend(&wanted, wanted.empty() ? "" : ", ", path);
  return WithNext(WithCode(absl::NotFoundError(
                               StrCat("none of the ", svids.size(), " SVIDs for this process ",
                                      choice.hint.empty() ? StrCat("has one of the paths ", wanted)
                                                          : StrCat("has the hint ", choice.hint),
                                      ": ", offered)),
                           "no-matching-svid"),
                  "make a registration entry with such an ID, or choose another one");
}

// Collects what was wrong with what.
class Notes {
 public:
  void Add(const std::string& what, absl::string_view why) {
    if (count_++ < kListedMax) StrAppend(&text_, text_.empty() ? "" : "; ", what, ": ", why);
  }
  [[nodiscard]] std::string text() const {
    return count_ <= kListedMax ? text_ : StrCat(text_, "; and ", count_ - kListedMax, " more");
  }

 private:
  std::string text_;
  std::size_t count_ = 0;
};

struct Choice {
  std::optional<Offer> offer;
  Status distrust;  // the first one's that is not believed
  Status broken;    // the first one's that cannot be read
};

Choice Choose(const std::vector<const SvidFields*>& fitting, UtcTime at, Notes& notes) {
  Choice choice;
  for (const SvidFields* const fields : fitting) {
    Result<Offer> offer = ReadOffer(*fields, at);
    const Status problem = offer.ok() ? offer->distrust : offer.status();
    if (!problem.ok()) {
      notes.Add(Named(*fields), problem.message());
      Status& first = offer.ok() ? choice.distrust : choice.broken;
      if (first.ok()) first = Annotate(problem, Named(*fields));
    } else if (offer->in_time) {
      choice.offer = *std::move(offer);
      return choice;
    } else if (!choice.offer) {
      choice.offer = *std::move(offer);
    }
  }
  return choice;
}

void AddBundle(const std::string& domain, std::string_view der, const std::string& what,
               IdentityState& state, Notes& notes) {
  Result<std::vector<std::shared_ptr<X509>>> roots = ParseCertificatesDer(der, kRootsMax);
  if (!roots.ok()) return notes.Add(what, roots.status().message());
  state.bundles[domain].roots = *std::move(roots);
}

void AddBundlesBesideSvids(const std::vector<SvidFields>& svids, IdentityState& state,
                           Notes& notes) {
  for (const SvidFields& fields : svids) {
    const Result<SpiffeId> id = SpiffeId::Parse(fields.id);
    if (!id.ok()) continue;
    const std::string domain(id->trust_domain());
    if (state.bundles.contains(domain)) continue;
    AddBundle(domain, fields.bundle, StrCat("bundle of ", Named(fields)), state, notes);
  }
}

void AddFederated(const std::map<std::string, std::string>& federated, IdentityState& state,
                  Notes& notes) {
  constexpr std::string_view kScheme = "spiffe://";
  for (const auto& [name, der] : federated) {
    const std::string what = StrCat("federated bundle ", Printable(name));
    const Result<SpiffeId> id =
        SpiffeId::Parse(name.starts_with(kScheme) ? name : StrCat(kScheme, name));
    if (!id.ok() || !id->path().empty()) {
      notes.Add(what, "not the name of a trust domain");
    } else if (const std::string domain(id->trust_domain()); state.bundles.contains(domain)) {
      notes.Add(what, "there is another bundle of this trust domain");
    } else {
      AddBundle(domain, der, what, state, notes);
    }
  }
}

}  // namespace

Result<WorkloadIdentity> ReadWorkloadState(const WorkloadState& raw, const SvidChoice& choice,
                                           UtcTime at) {
  RETURN_IF_ERROR(CheckSize(raw));
  auto state = std::make_shared<IdentityState>();
  Notes notes;
  WorkloadIdentity identity;
  const std::vector<const SvidFields*> fitting = Fitting(raw.svids, choice);
  const Choice chosen = Choose(fitting, at, notes);
  if (chosen.offer) {
    state->svid = chosen.offer->svid;
    const std::string domain(state->svid->id.trust_domain());
    state->bundles[domain] = chosen.offer->bundle;
    if (chosen.offer->bundle.roots.empty()) {
      identity.trouble = WithNext(
          WithCode(absl::FailedPreconditionError(StrCat("the bundle of our trust domain ", domain,
                                                        " is empty, so nobody in it is believed")),
                   "empty-bundle"),
          "look at the bundle of the SPIRE server");
    }
  } else if (!chosen.distrust.ok()) {
    identity.trouble = chosen.distrust;
  } else if (!chosen.broken.ok()) {
    return BadSvid(chosen.broken);
  } else if (!raw.svids.empty()) {
    identity.trouble = NoneFits(raw.svids, choice);
  }
  AddBundlesBesideSvids(raw.svids, *state, notes);
  AddFederated(raw.federated, *state, notes);
  identity.state = std::move(state);
  identity.left_out = notes.text();
  return identity;
}

}  // namespace starling
