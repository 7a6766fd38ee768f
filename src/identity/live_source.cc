#include "identity/live_source.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/starting.h"
#include "base/text.h"

namespace starling {
namespace {

class FixedSource final : public SvidSource {
 public:
  explicit FixedSource(std::shared_ptr<const IdentityState> state) : state_(std::move(state)) {}
  [[nodiscard]] std::shared_ptr<const IdentityState> Current() const override { return state_; }
  [[nodiscard]] SourceReport Report() const override { return {.source = "a fixed identity"}; }
  [[nodiscard]] Status AwaitIdentity(Duration /*span*/,
                                     const std::stop_token& /*stop*/) const override {
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<const IdentityState> state_;
};

std::string HashOf(const X509& certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  CHECK(X509_digest(&certificate, EVP_sha256(), digest, &size) == 1);
  return {reinterpret_cast<const char*>(digest), size};
}

std::set<std::string> HashesOf(const Bundle& bundle) {
  std::set<std::string> hashes;
  for (const auto& root : bundle.roots) hashes.insert(HashOf(*root));
  return hashes;
}

bool SameLeaf(const IdentityState& a, const IdentityState& b) {
  if (a.svid == nullptr || b.svid == nullptr) return a.svid == b.svid;
  return HashOf(*a.svid->chain.front()) == HashOf(*b.svid->chain.front());
}

bool SameBundles(const IdentityState& a, const IdentityState& b) {
  return std::ranges::equal(a.bundles, b.bundles, [](const auto& one, const auto& other) {
    return one.first == other.first && SameRoots(one.second, other.second);
  });
}

std::size_t Missing(const std::set<std::string>& of, const std::set<std::string>& in) {
  return static_cast<std::size_t>(
      std::ranges::count_if(of, [&](const std::string& hash) { return !in.contains(hash); }));
}

}  // namespace

std::unique_ptr<SvidSource> MakeFixedSource(std::shared_ptr<const IdentityState> state) {
  return std::make_unique<FixedSource>(std::move(state));
}

bool SameRoots(const Bundle& a, const Bundle& b) { return HashesOf(a) == HashesOf(b); }

LiveSource::LiveSource(std::string source, const Clock& clock, Log log)
    : clock_(clock), log_(std::move(log)), state_(std::make_shared<const IdentityState>()) {
  report_.source = std::move(source);
}

std::shared_ptr<const IdentityState> LiveSource::Current() const {
  const std::scoped_lock lock(mutex_);
  return state_;
}

SourceReport LiveSource::Report() const {
  const std::scoped_lock lock(mutex_);
  return report_;
}

Status LiveSource::AwaitIdentity(Duration span, const std::stop_token& stop) const {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, stop, span, [this] { return failed_ || state_->svid != nullptr; });
  if (state_->svid != nullptr) return absl::OkStatus();
  if (failed_) return report_.trouble;
  if (stop.stop_requested()) return absl::CancelledError("stopped while waiting for an identity");
  const std::string waited =
      StrCat("no identity after ", Millis(span) / 1000, " s from ", report_.source);
  if (report_.trouble.ok()) {
    return WithNext(WithCode(absl::DeadlineExceededError(waited), "no-identity"),
                    "look whether it has an entry for this process");
  }
  return WithNext(
      WithCode(absl::DeadlineExceededError(StrCat(waited, ": ", report_.trouble.message())),
               "no-identity"),
      NextStep(report_.trouble));
}

void LiveSource::Publish(std::shared_ptr<const IdentityState> state, const Status& trouble) {
  CHECK(state != nullptr);
  std::shared_ptr<const IdentityState> before, now;
  bool recovered = false, troubled = false;
  {
    const std::scoped_lock lock(mutex_);
    before = std::exchange(state_, std::move(state));
    now = state_;
    ++report_.updates;
    if (now->svid != nullptr && !SameLeaf(*before, *now)) ++report_.rotations;
    if (!SameBundles(*before, *now)) ++report_.bundle_changes;
    recovered = !report_.trouble.ok() && trouble.ok();
    troubled = !trouble.ok() && (report_.trouble != trouble || said_softly_);
    if (report_.trouble.ok() && !trouble.ok()) report_.trouble_since = clock_.UtcNow();
    report_.trouble = trouble;
    said_softly_ = false;
    changed_.notify_all();
  }
  if (troubled) log_.Warning("{}", ErrorLine(trouble, "identity"));
  if (recovered) log_.Info("identity: the trouble with {} is over", report_.source);
  LogChanges(*before, *now);
}

void LiveSource::Withdraw(const Status& why) {
  const std::shared_ptr<const IdentityState> held = Current();
  if (held->svid == nullptr) {
    if (!why.ok()) SetTrouble(why);
    return;
  }
  auto without = std::make_shared<IdentityState>(*held);
  without->svid = nullptr;
  Publish(std::move(without), why);
}

void LiveSource::LogChanges(const IdentityState& before, const IdentityState& now) {
  if (now.svid == nullptr) {
    if (before.svid != nullptr) {
      log_.Warning("identity: {} was withdrawn; connections that stand go on until {}",
                   before.svid->id.text(), FormatUtc(before.svid->not_after));
    }
  } else if (!SameLeaf(before, now)) {
    log_.Info("identity: {} certificate of {}, valid until {}",
              before.svid == nullptr ? "first" : "new", now.svid->id.text(),
              FormatUtc(now.svid->not_after));
  }
  for (const auto& [domain, bundle] : now.bundles) {
    const auto old = before.bundles.find(domain);
    const std::set<std::string> had =
        old == before.bundles.end() ? std::set<std::string>{} : HashesOf(old->second);
    const std::set<std::string> has = HashesOf(bundle);
    const std::size_t added = Missing(has, had), gone = Missing(had, has);
    if (added + gone == 0) continue;
    log_.Info("identity: trust domain {} has {} CA certificates ({} new, {} gone)", domain,
              has.size(), added, gone);
  }
  for (const auto& [domain, bundle] : before.bundles) {
    if (!now.bundles.contains(domain)) {
      log_.Warning("identity: no CA certificates for trust domain {} any more", domain);
    }
  }
}

void LiveSource::SetTrouble(const Status& trouble) { TakeTrouble(trouble, false); }
void LiveSource::Fail(const Status& trouble) { TakeTrouble(trouble, true); }

void LiveSource::TakeTrouble(const Status& trouble, bool fatal) {
  CHECK(!trouble.ok());
  bool early = false;
  {
    const std::scoped_lock lock(mutex_);
    // An entry is made beside us, too, and takes its time to come.
    early = !fatal && report_.updates == 0 && clock_.Now() - began_ < kStartTogether &&
            (IsAway(trouble) || StableCode(trouble) == "no-matching-entry");
    const bool same = report_.trouble == trouble && (early || !said_softly_);
    if (report_.trouble.ok()) report_.trouble_since = clock_.UtcNow();
    report_.trouble = trouble;
    failed_ = failed_ || fatal;
    changed_.notify_all();
    // Whoever waits for a first identity gets a fatal trouble as the answer, and says it once.
    if (same || (fatal && report_.updates == 0)) return;
    said_softly_ = early;
  }
  log_.Say(early ? LogLevel::kInfo : LogLevel::kWarning, "{}", ErrorLine(trouble, "identity"));
}

}  // namespace starling
