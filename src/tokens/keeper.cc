#include "tokens/keeper.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/mailbox.h"
#include "base/starting.h"
#include "base/text.h"
#include "http/metrics.h"
#include "identity/spiffe/spire_admin.h"
#include "tokens/plan.h"

namespace starling {
namespace {

constexpr std::string_view kManager = "starling-spire-tokens";
constexpr Duration kServerRetry = 1s;

// What is wrong with which part: one line in the log when it begins, changes and ends, and one in
// /readyz while it lasts. What is started beside this process, and may not be there yet in its
// first minute, is no warning. One thread; the pages belong to others.
class Troubles {
 public:
  Troubles(const Clock& clock, const Log& log, HealthState& health)
      : clock_(clock), log_(log), health_(health) {}

  void Set(const std::string& part, const Status& status) {
    if (absl::IsCancelled(status)) return;
    Trouble& trouble = troubles_[part];
    const bool is_new = trouble.line.empty();
    if (is_new) trouble.since = clock_.UtcNow();
    const bool early =
        !was_in_order_.contains(part) && IsStillStarting(status, clock_.Now() - began_);
    std::string line = ErrorLine(status, part);
    if (line != trouble.line || (!early && !trouble.warned)) {
      trouble.warned = !early;
      log_.Say(early ? LogLevel::kInfo : LogLevel::kWarning, "{}", line);
    }
    trouble.line = std::move(line);
    health_.SetWaiting(part, StrCat(StableCode(status), ": ", status.message(), " (since ",
                                    FormatUtc(trouble.since), "). Next: ", NextStep(status)));
  }
  void Clear(const std::string& part, const std::string& detail) {
    was_in_order_.insert(part);
    if (troubles_.erase(part) > 0) log_.Info("{}: is in order now", part);
    health_.SetReady(part, detail);
  }

 private:
  struct Trouble {
    std::string line;
    UtcTime since;
    bool warned = false;
  };
  const Clock& clock_;
  const Instant began_ = clock_.Now();
  const Log& log_;
  HealthState& health_;
  std::map<std::string, Trouble> troubles_;
  std::set<std::string> was_in_order_;  // since the start
};

struct Counters {
  std::map<std::string, std::uint64_t> tokens;  // made, by reason
  std::uint64_t patches = 0;
};

std::string_view ReasonLabel(NewToken why) {
  switch (why) {
    case NewToken::kNo:
      return "none";
    case NewToken::kFirst:
      return "first";
    case NewToken::kOtherAgent:
      return "other-agent";
    case NewToken::kSpent:
      return "spent";
    case NewToken::kUnknown:
      return "unknown";
    case NewToken::kEnding:
      return "ending";
  }
  return "";
}

Result<TokenFate> FateOf(const std::string& token, SpireAdmin& admin) {
  ASSIGN_OR_RETURN(const bool is_spent, admin.TokenIsSpent(token));
  if (is_spent) return TokenFate::kSpent;
  ASSIGN_OR_RETURN(const std::vector<SpireEntry> aliases,
                   admin.EntriesOf("", SpireAdmin::AgentPath(token)));
  return aliases.empty() ? TokenFate::kUnknown : TokenFate::kUnused;
}

class TokenKeeper {
 public:
  TokenKeeper(const TokenKeeperOptions& options, const TokenKeeperDeps& deps, HealthState& health,
              Guarded<Counters>& counters)
      : options_(options),
        clock_(deps.clock),
        log_(deps.log),
        troubles_(deps.clock, deps.log, health),
        counters_(counters),
        kube_(options.kube, deps.clock) {
    for (const TokenWish& wish : options.config.tokens) {
      Node node{.name = {options.config.space, wish.secret},
                .alias = wish.agent,
                .agent = StrCat("spiffe://", options.config.trust_domain, wish.agent)};
      health.SetWaiting(Part(node), "not looked at yet");
      nodes_.push_back(std::move(node));
    }
    health.SetWaiting(kServerPart, "not looked at yet");
    health.SetWaiting(kEntriesPart, "not looked at yet");
  }

  // One look at everything. How long to wait for the next one.
  Duration Step(const std::stop_token& stop);

 private:
  static constexpr const char* kServerPart = "spire-server";
  static constexpr const char* kEntriesPart = "entries";

  struct Node {
    SecretName name;
    std::string alias, agent;
    std::optional<Secret> secret;        // as the last patch answered
    std::optional<SpireToken> fresh;     // made, and not known to be in the Secret
    NewToken why = NewToken::kNo;        // it was made
    std::vector<RetiredAlias> retiring;  // to be said in the Secret together with it
    // The entries with this alias before a token was asked for, of which no good answer came.
    std::optional<std::set<std::string>> before;
    Instant look_at;  // when to patch again although nothing is due
    Instant retry_at;
    int failures = 0;
  };
  static std::string Part(const Node& node) { return StrCat("secret ", node.name.Text()); }

  struct Outcome {
    Status status;
    Instant at;
  };
  void Note(Node& node, const Outcome& outcome);
  [[nodiscard]] Status KeepEntries(SpireAdmin& admin);
  [[nodiscard]] Status KeepSecret(Node& node, SpireAdmin& admin, const std::string& bundle,
                                  const std::stop_token& stop);
  [[nodiscard]] Status Patch(Node& node, const SecretPatch& patch, const std::stop_token& stop);
  [[nodiscard]] Status MakeToken(Node& node, SpireAdmin& admin, const TokenSecret& held);
  [[nodiscard]] Status RetireUnanswered(Node& node, SpireAdmin& admin);
  [[nodiscard]] Status DropToken(const Node& node, SpireAdmin& admin, const SpireToken& token);
  [[nodiscard]] Status Retire(Node& node, SpireAdmin& admin, const SpireToken& token,
                              const std::string& agent);
  [[nodiscard]] Status RemoveRetired(const Node& node, SpireAdmin& admin,
                                     std::vector<RetiredAlias>& retired);

  const TokenKeeperOptions& options_;
  const Clock& clock_;
  const Log& log_;
  Troubles troubles_;
  Guarded<Counters>& counters_;
  SecretsClient kube_;
  std::vector<Node> nodes_;
  Instant entries_at_;  // when to look at the entries again
};

Duration TokenKeeper::Step(const std::stop_token& stop) {
  SpireAdmin admin({.socket = options_.server_socket, .trust_domain = options_.config.trust_domain},
                   stop);
  const Result<std::string> bundle = admin.BundlePem();
  if (!bundle.ok()) {
    troubles_.Set(kServerPart, bundle.status());
    entries_at_ = clock_.Now();  // Whoever comes back may be another one.
    return std::min(kServerRetry, options_.look);
  }
  troubles_.Clear(kServerPart, StrCat("at unix:", options_.server_socket));
  if (clock_.Now() >= entries_at_) {
    const Status entries = KeepEntries(admin);
    if (entries.ok()) {
      troubles_.Clear(kEntriesPart, StrCat(options_.config.entries.size(), " entries"));
      entries_at_ = clock_.Now() + options_.full_look;
    } else {
      troubles_.Set(kEntriesPart, entries);
    }
  }
  Duration pause = options_.look;
  // Each Secret would wait for its own answer, and nothing else be done meanwhile.
  std::optional<Outcome> away;
  for (Node& node : nodes_) {
    if (stop.stop_requested()) return pause;
    if (node.failures == 0 || clock_.Now() >= node.retry_at) {
      const Status status = away ? away->status : KeepSecret(node, admin, *bundle, stop);
      if (!away && StableCode(status) == "kube-unreachable") away = Outcome{status, clock_.Now()};
      Note(node, {status, away ? away->at : clock_.Now()});
    }
    if (node.failures > 0)
      pause = std::clamp<Duration>(node.retry_at - clock_.Now(), Duration::zero(), pause);
  }
  return pause;
}

void TokenKeeper::Note(Node& node, const Outcome& outcome) {
  if (outcome.status.ok()) {
    node.failures = 0;
    troubles_.Clear(Part(node), "");
    return;
  }
  node.retry_at = outcome.at + RetryAfter(++node.failures);
  troubles_.Set(Part(node), outcome.status);
}

Status TokenKeeper::KeepEntries(SpireAdmin& admin) {
  std::vector<SpireEntry> held;
  std::set<std::pair<std::string, std::string>> asked;
  for (const SpireEntry& entry : options_.config.entries) {
    if (!asked.emplace(entry.path, entry.parent).second) continue;
    ASSIGN_OR_RETURN(std::vector<SpireEntry> some, admin.EntriesOf(entry.path, entry.parent));
    std::ranges::move(some, std::back_inserter(held));
  }
  const EntryPlan plan = PlanEntries(options_.config.entries, held);
  Status first_error;  // One that cannot be had hurts no other.
  for (const SpireEntry& entry : plan.create) {
    const Status status = admin.CreateEntry(entry);
    if (status.ok()) log_.Info("the entry of {} below {} is made", entry.path, entry.parent);
    if (first_error.ok()) first_error = status;
  }
  for (const SpireEntry& entry : plan.update) {
    const Status status = admin.UpdateEntry(entry);
    if (status.ok()) log_.Info("the entry of {} below {} is put right", entry.path, entry.parent);
    if (first_error.ok()) first_error = status;
  }
  return first_error;
}

Status TokenKeeper::Patch(Node& node, const SecretPatch& patch, const std::stop_token& stop) {
  counters_.With([](Counters& counters) { ++counters.patches; });
  ASSIGN_OR_RETURN(Secret secret, kube_.Patch(node.name, patch, std::string(kManager), stop));
  if (!Holds(secret, patch)) {
    return WithNext(WithCode(absl::InternalError(StrCat("the Secret ", node.name.Text(),
                                                        " does not hold what was set")),
                             "kube-refused"),
                    "does a webhook of the cluster change it?");
  }
  node.secret = std::move(secret);
  node.look_at = clock_.Now() + options_.full_look;
  return absl::OkStatus();
}

Status TokenKeeper::KeepSecret(Node& node, SpireAdmin& admin, const std::string& bundle,
                               const std::stop_token& stop) {
  // A patch of nothing: its answer is the Secret.
  if (!node.secret || clock_.Now() >= node.look_at) RETURN_IF_ERROR(Patch(node, {}, stop));
  const TokenSecret held = ReadTokenSecret(*node.secret);
  TokenFate fate = TokenFate::kUnused;
  if (!held.token.empty()) {
    ASSIGN_OR_RETURN(fate, FateOf(held.token, admin));
  }
  const UtcTime now = clock_.UtcNow();
  const Duration ttl = options_.config.token_ttl;
  const NewToken why = NeedsToken(held, node.agent, fate, ttl, now);
  // It is there after all, with what belongs to it, or has waited for Kubernetes for too long.
  const bool is_there = node.fresh && node.fresh->value == held.token;
  if (is_there &&
      (fate != TokenFate::kUnused || (why != NewToken::kFirst && why != NewToken::kOtherAgent)))
    node.fresh.reset();
  if (node.fresh && IsEnding(node.fresh->expires, ttl, now)) {
    RETURN_IF_ERROR(Retire(node, admin, *node.fresh, node.agent));
    node.fresh.reset();
  }
  if (why != NewToken::kNo && !node.fresh) {
    node.why = why;
    if (why == NewToken::kUnknown) entries_at_ = clock_.Now();  // They are lost as well.
    RETURN_IF_ERROR(MakeToken(node, admin, held));
  }
  TokenContent wanted{.agent = node.agent, .bundle = bundle, .retired = held.retired};
  // What is wrong with old aliases is no reason to leave a node without its token.
  Status removed = RemoveRetired(node, admin, wanted.retired);
  std::ranges::copy(node.retiring, std::back_inserter(wanted.retired));
  if (why != NewToken::kNo) wanted.fresh = &*node.fresh;
  const SecretPatch patch = PlanSecret(held, wanted);
  if (patch == SecretPatch{}) return removed;
  RETURN_IF_ERROR(Patch(node, patch, stop));
  node.retiring.clear();
  if (wanted.fresh != nullptr) {
    log_.Info("the Secret {} {}: of {}, until {}", node.name.Text(), NewTokenWords(node.why),
              node.agent, FormatUtc(node.fresh->expires));
    counters_.With(
        [&](Counters& counters) { ++counters.tokens[std::string(ReasonLabel(node.why))]; });
    node.fresh.reset();
  } else if (held.bundle != bundle) {
    log_.Info("the Secret {} has the new trust bundle", node.name.Text());
  }
  return removed;
}

Status TokenKeeper::MakeToken(Node& node, SpireAdmin& admin, const TokenSecret& held) {
  const bool is_known = !held.token.empty() && held.expires;
  if (is_known && node.why != NewToken::kSpent)
    RETURN_IF_ERROR(Retire(node, admin, {held.token, *held.expires}, held.agent));
  const std::chrono::seconds ttl = options_.config.token_ttl;
  RETURN_IF_ERROR(RetireUnanswered(node, admin));
  ASSIGN_OR_RETURN(const SpireToken made, admin.CreateToken(node.alias, ttl));
  if (!IsEnding(made.expires, ttl, clock_.UtcNow())) {
    node.fresh = made;
    node.before.reset();
    return absl::OkStatus();
  }
  // It would be replaced at once, again and again.
  RETURN_IF_ERROR(DropToken(node, admin, made));
  node.before.reset();
  // No times: they would be others at each try.
  return WithNext(
      WithCode(absl::FailedPreconditionError(
                   "by the clock here the SPIRE server makes tokens that are over, or nearly so, "
                   "when they are made"),
               "clocks-differ"),
      "set the clock of the SPIRE server, or run this beside it");
}

// A token whose answer was lost has an alias all the same. Another node's with the same alias may
// be taken for it: that is spent or over by then, too.
Status TokenKeeper::RetireUnanswered(Node& node, SpireAdmin& admin) {
  ASSIGN_OR_RETURN(const std::vector<SpireEntry> aliases, admin.EntriesOf(node.alias, ""));
  std::set<std::string> now;
  for (const SpireEntry& alias : aliases) {
    now.insert(alias.id);
    const bool is_new = node.before && !node.before->contains(alias.id);
    if (is_new && !SpireAdmin::TokenOf(alias.parent).empty())
      node.retiring.push_back({alias.id, clock_.UtcNow() + options_.config.token_ttl, node.alias});
  }
  node.before = std::move(now);
  return absl::OkStatus();
}

// Of a token that nobody has seen but this process.
Status TokenKeeper::DropToken(const Node& node, SpireAdmin& admin, const SpireToken& token) {
  ASSIGN_OR_RETURN(const std::vector<SpireEntry> aliases,
                   admin.EntriesOf(node.alias, SpireAdmin::AgentPath(token.value)));
  for (const SpireEntry& alias : aliases) RETURN_IF_ERROR(admin.DeleteEntry(alias.id));
  return absl::OkStatus();
}

// A token that nobody uses leaves its alias behind, which SPIRE would keep for ever.
Status TokenKeeper::Retire(Node& node, SpireAdmin& admin, const SpireToken& token,
                           const std::string& agent) {
  ASSIGN_OR_RETURN(const bool is_spent, admin.TokenIsSpent(token.value));
  if (is_spent) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<SpireEntry> aliases,
                   admin.EntriesOf("", SpireAdmin::AgentPath(token.value)));
  for (const SpireEntry& alias : aliases) {
    const RetiredAlias retired{alias.id, token.expires, alias.path};
    const bool ours = StrCat("spiffe://", options_.config.trust_domain, alias.path) == agent;
    if (ours && std::ranges::find(node.retiring, retired) == node.retiring.end())
      node.retiring.push_back(retired);
  }
  return absl::OkStatus();
}

Status TokenKeeper::RemoveRetired(const Node& node, SpireAdmin& admin,
                                  std::vector<RetiredAlias>& retired) {
  const UtcTime now = clock_.UtcNow();
  const auto is_over = [&](const RetiredAlias& alias) { return alias.over <= now; };
  if (std::ranges::none_of(retired, is_over)) return absl::OkStatus();
  std::set<std::string> paths;
  for (const RetiredAlias& alias : retired) {
    if (is_over(alias)) paths.insert(alias.path.empty() ? node.alias : alias.path);
  }
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(const std::vector<SpireEntry> aliases, admin.EntriesOf(path, ""));
    for (const SpireEntry& alias : aliases) {
      const auto found = std::ranges::find(retired, alias.id, &RetiredAlias::entry);
      const std::string token = SpireAdmin::TokenOf(alias.parent);
      if (found == retired.end() || !is_over(*found) || token.empty()) continue;
      // Whoever read the old token just before it was replaced has used it, and needs the alias.
      ASSIGN_OR_RETURN(const bool is_spent, admin.TokenIsSpent(token));
      if (!is_spent) RETURN_IF_ERROR(admin.DeleteEntry(alias.id));
    }
  }
  std::erase_if(retired, is_over);
  return absl::OkStatus();
}

std::string MetricsPage(const Guarded<Counters>& guarded) {
  const Counters counters = guarded.With([](const Counters& now) { return now; });
  MetricsText text;
  text.Family("starling_join_tokens_total", "counter", "Join tokens put into Secrets, by reason.");
  for (const auto& [reason, count] : counters.tokens)
    text.Value("starling_join_tokens_total", "reason", reason, count);
  text.Counter("starling_secret_patches_total", "Patches of Secrets that were tried.",
               counters.patches);
  return text.Take();
}

}  // namespace

Status RunTokenKeeper(const TokenKeeperOptions& options, const TokenKeeperDeps& deps,
                      const std::stop_token& stop) {
  HealthState health;
  Guarded<Counters> counters;
  TokenKeeper keeper(options, deps, health, counters);
  health.set_started();
  ASSIGN_OR_RETURN(
      const std::unique_ptr<HealthServer> pages,
      HealthServer::Start(options.health, health.Pages([&] { return MetricsPage(counters); }),
                          deps.log));
  if (deps.ready) deps.ready(pages->port());
  deps.log.Info("keeps {} entries and {} join tokens of the trust domain {}, in the namespace {}",
                options.config.entries.size(), options.config.tokens.size(),
                options.config.trust_domain, options.config.space);
  for (Bell never; !stop.stop_requested();) {
    const Duration pause = keeper.Step(stop);
    never.Wait(stop, pause);
  }
  return absl::OkStatus();
}

}  // namespace starling
