#include "identity/spiffe/join_source.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/bytes.h"
#include "base/secrets.h"
#include "base/text.h"
#include "identity/certificate.h"
#include "identity/certificate_request.h"
#include "identity/join_plan.h"
#include "identity/join_state.h"
#include "identity/path_watch.h"
#include "identity/spiffe/join_agent.h"
#include "identity/spiffe/join_federated.h"
#include "identity/spiffe/join_files.h"
#include "identity/spiffe/join_start.h"
#include "identity/spiffe/spire_client.h"
#include "identity/spiffe_state.h"
#include "openssl/crypto.h"

namespace starling {
namespace {

constexpr std::size_t kStateBytes = 16384;  // as much as a state file usually has, and more
// SPIRE reads its entries every five seconds: a new agent has none until then.
constexpr auto kSettling = std::chrono::seconds(10);

class JoinSource final : public LiveSource {
 public:
  JoinSource(JoinOptions options, std::optional<JoinState> state, const Clock& clock, Log log);

 private:
  void Run(const std::stop_token& stop);
  void StepForever(const std::stop_token& stop);
  void AwaitToken(const std::stop_token& stop);
  [[nodiscard]] Status Step(const std::stop_token& stop);
  [[nodiscard]] Status Attest(const std::stop_token& stop);
  [[nodiscard]] bool WantsOtherToken(const Status& status) const;
  [[nodiscard]] Status TakeTokenOfFile(const Status& loss, const std::stop_token& stop);
  [[nodiscard]] Status ConfirmTime(const Status& expired, const std::stop_token& stop) const;
  void LeaveToken(const Status& refusal);
  [[nodiscard]] bool has_served() const { return Report().rotations > 0; }  // had a certificate
  [[nodiscard]] Status Prove(const std::stop_token& stop);
  [[nodiscard]] Status Work(const std::stop_token& stop, UtcTime now);
  [[nodiscard]] Status TakeBundleOfFile(const std::stop_token& stop, const Status& disbelief);
  [[nodiscard]] Status Look(const std::stop_token& stop, bool agent_is_new);
  [[nodiscard]] Status RenewAgent(const std::stop_token& stop);
  [[nodiscard]] Status Choose(SpireClient& client);
  [[nodiscard]] Status IssueSvid(SpireClient& client);
  [[nodiscard]] Result<WorkloadState> ReadAll(SpireClient& client);
  [[nodiscard]] SpireConnection Connection() const;
  [[nodiscard]] Duration Pause(const Status& status, int failures) const;
  void Adopt(JoinState state);
  void SaveBundle(const std::string& roots_der);
  void Save();
  void ForgetEntry();

  const JoinOptions options_;
  const std::string path_;  // of the state file
  std::string token_;       // wiped once it is spent
  std::vector<std::string> secrets_;
  struct Attested {
    std::string chain;
    NewKey key;
    Bundle trusted;  // by which the server was believed; empty: by nothing
  };
  std::optional<Attested> attested_;  // what the token gave, while it is not in `state_`
  struct Lost {
    JoinState state;
    bool proven;
  };
  std::optional<Lost> lost_;  // the agent before, while `token_` is to make another one
  std::string spent_hash_;    // of a token in the file that did not
  std::optional<JoinState> state_;
  bool proven_ = false;  // the agent is checked, and the bundle is the server's
  UtcTime settled_;      // a new agent's entries are there
  std::optional<JoinEntry> entry_;
  SvidFields fields_;  // of the newest certificate, without its bundle
  SpireBundle newest_;
  std::string roots_;  // those that the state file holds, in DER
  JoinTimes times_;
  Status unsaved_;  // why the state file does not hold `state_`
  FederatedBundles federated_;
  std::string left_out_;  // the same of the newest state
  std::mutex mutex_;
  std::condition_variable_any pause_;
  std::jthread thread_;  // last: it ends before what it uses
};

JoinSource::JoinSource(JoinOptions options, std::optional<JoinState> state, const Clock& clock,
                       Log log)
    : LiveSource(
          StrCat("SPIRE server ", options.server_host, ":", options.server_port, " (join token)"),
          clock, std::move(log)),
      options_([&] {
        JoinOptions without_token = options;
        without_token.token.clear();
        return without_token;
      }()),
      path_(JoinStatePath(options.state_dir)),
      token_(std::move(options.token)) {
  if (!token_.empty()) secrets_.push_back(token_);
  if (state) {
    Adopt(*std::move(state));
    proven_ = !state_->bundle.roots.empty();
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

void JoinSource::Adopt(JoinState state) {
  // The last part of the agent's ID is the token it came from.
  const std::string_view path = state.agent->id.path();
  std::string secret(path.substr(path.rfind('/') + 1));
  if (std::ranges::find(secrets_, secret) == secrets_.end()) secrets_.push_back(std::move(secret));
  times_.agent = LifeOf(*state.agent, clock().UtcNow());
  state_ = std::move(state);
}

void JoinSource::Save() {
  unsaved_ = WriteJoinState(*state_, path_);
  if (unsaved_.ok()) return;
  unsaved_ = WithNext(
      WithCode(Annotate(unsaved_, "the SPIRE agent of this node cannot be kept"),
               "join-state-unsaved"),
      "make room and permit writing there; until then a restart would need a new join token");
}

void JoinSource::Run(const std::stop_token& stop) {
  try {
    StepForever(stop);
  } catch (const std::exception& error) {
    Fail(absl::InternalError(StrCat("the agent of this node has ended: ", error.what())));
  }
}

void JoinSource::AwaitToken(const std::stop_token& stop) {
  const JoinFiles files{options_.token_file,
                        options_.insecure_bootstrap ? "" : options_.bundle_file};
  Result<std::string> token = AwaitJoinToken(
      files, [this](const Status& status) { SetTrouble(status); }, clock(), stop);
  if (!token.ok()) return;  // stopped
  token_ = *std::move(token);
  secrets_.push_back(token_);
  log().Info("identity: the join token is there");
}

void JoinSource::StepForever(const std::stop_token& stop) {
  if (!state_ && token_.empty()) AwaitToken(stop);
  for (int failures = 0; !stop.stop_requested();) {
    Status status = Redacted(Step(stop), secrets_);
    if (stop.stop_requested()) return;
    std::optional<PathWatch> watch;
    if (WantsOtherToken(status)) {
      if (lost_) {
        LeaveToken(status);
        continue;
      }
      watch.emplace().AddFile(options_.token_file);  // before it is read
      status = Redacted(TakeTokenOfFile(status, stop), secrets_);
      if (status.ok()) continue;
    }
    // Nobody looks whether the source of a node that runs has ended, and starts the node again.
    if (IsFinalJoinError(status) && !(watch && has_served())) return Fail(status);
    const bool settling = StableCode(status) == "no-matching-entry" && clock().UtcNow() < settled_;
    if (!status.ok() && !settling) SetTrouble(status);
    const Duration pause = Pause(status, failures);
    failures = status.ok() || settling ? 0 : failures + 1;
    if (watch) {
      AwaitChange(*watch, pause, clock(), stop);
      continue;
    }
    std::unique_lock lock(mutex_);
    pause_.wait_for(lock, stop, pause, [] { return false; });
  }
}

// Either the agent is of no use, or a token that was to make another one.
bool JoinSource::WantsOtherToken(const Status& status) const {
  if (options_.token_file.empty()) return false;
  const std::string code = StableCode(status);
  if (state_) return code == "agent-refused" || code == "agent-expired";
  return lost_ && has_served() && (code == "join-token-spent" || code == "attestation-refused");
}

Duration JoinSource::Pause(const Status& status, int failures) const {
  const UtcTime now = clock().UtcNow();
  if (status.ok()) return LookPause(times_, now);
  std::vector<UtcTime> ends;
  if (state_) ends.push_back(state_->agent->not_after);
  if (times_.svid) ends.push_back(times_.svid->until);
  return RetryPause(failures, ends, now);
}

Status JoinSource::Step(const std::stop_token& stop) {
  if (!state_) RETURN_IF_ERROR(Attest(stop));
  const UtcTime now = clock().UtcNow();
  // A new one may only seem so, by a wrong clock: Prove() says that better.
  if (proven_ && state_->agent->not_after <= now) return AgentExpired(state_->agent->not_after);
  Status status = Work(stop, now);
  if (StableCode(status) == "unknown-authority" && !options_.bundle_file.empty()) {
    status = TakeBundleOfFile(stop, status);
    if (status.ok()) status = Work(stop, now);
  }
  if (StableCode(status) != "spire-server-unreachable") return status;
  return WithNext(status, StrCat("start it, or correct its address; this is tried again by itself "
                                 "until ",
                                 FormatUtc(state_->agent->not_after),
                                 ", after that a new join token is needed"));
}

Status JoinSource::Work(const std::stop_token& stop, UtcTime now) {
  if (!proven_) RETURN_IF_ERROR(Prove(stop));
  const bool renew_agent = RenewalDue(times_.agent, now);
  if (renew_agent) RETURN_IF_ERROR(RenewAgent(stop));
  return Look(stop, renew_agent);
}

// A change of CAs that this node missed: the bundle that it keeps believes the server no more, and
// the one that people have written since may. What the server then says repairs the state.
Status JoinSource::TakeBundleOfFile(const std::stop_token& stop, const Status& disbelief) {
  Result<Bundle> given = ReadBundleFile(options_.bundle_file);
  if (!given.ok()) {
    return WithNext(disbelief, StrCat(NextStep(disbelief), "; ", given.status().message()));
  }
  if (SameRoots(*given, state_->bundle)) return disbelief;
  SpireConnection connection = Connection();
  connection.trusted = *std::move(given);
  // A server may close the connection on a certificate of a CA that it knows no more.
  connection.agent = nullptr;
  ASSIGN_OR_RETURN(const std::unique_ptr<SpireClient> client,
                   SpireClient::Make(std::move(connection), stop));
  ASSIGN_OR_RETURN(const SpireBundle bundle, client->OwnBundle());
  if (bundle.roots == roots_) return disbelief;
  Bundle servers;
  ASSIGN_OR_RETURN(servers.roots, ParseCertificatesDer(bundle.roots, kRootsMax));
  // Before the state has it: the next start must come here again.
  RETURN_IF_ERROR(CheckKeptAgent(*state_, servers, clock().UtcNow()));
  state_->bundle = std::move(servers);
  roots_ = bundle.roots;
  Save();
  log().Info("identity: the SPIRE server {}:{} is believed by {}, as its CAs have changed",
             options_.server_host, options_.server_port, options_.bundle_file);
  return absl::OkStatus();
}

SpireConnection JoinSource::Connection() const {
  return {.server = {options_.server_host, options_.server_port, options_.trust_domain},
          .trusted = state_ ? state_->bundle : Bundle{},
          .insecure = false,
          .agent = state_ ? state_->agent : nullptr,
          .secrets = secrets_,
          .now = clock().UtcNow()};
}

// The old agent stays in the state file until the new one is there.
Status JoinSource::TakeTokenOfFile(const Status& loss, const std::stop_token& stop) {
  ASSIGN_OR_RETURN(std::string token,
                   ReadOtherToken(options_.token_file, {.loss = loss,
                                                        .kept_hash = state_->token_hash,
                                                        .spent_hash = spent_hash_,
                                                        .waits = has_served()}));
  if (StableCode(loss) == "agent-expired") RETURN_IF_ERROR(ConfirmTime(loss, stop));
  // Found out before the token is spent, as at the start.
  RETURN_IF_ERROR(PrepareStateDirectory(options_.state_dir, kStateBytes));
  log().Warning("identity: {}; the join token in {} makes another agent",
                std::string(loss.message()), options_.token_file);
  token_ = std::move(token);
  secrets_.push_back(token_);
  lost_ = Lost{*std::move(state_), proven_};
  state_.reset();
  entry_.reset();
  proven_ = false;
  return absl::OkStatus();
}

// A wall clock that is wrong for a moment is not to cost a token: it finds the server's certificate
// no better than the agent's.
Status JoinSource::ConfirmTime(const Status& expired, const std::stop_token& stop) const {
  SpireConnection connection = Connection();
  connection.agent = nullptr;
  ASSIGN_OR_RETURN(connection.trusted, BundleToAttestBy(options_, state_->bundle));
  ASSIGN_OR_RETURN(const std::unique_ptr<SpireClient> client,
                   SpireClient::Make(std::move(connection), stop));
  Status asked = client->OwnBundle().status();
  if (asked.ok()) return asked;
  return WithNext(expired, StrCat("the join token in ", options_.token_file,
                                  " is taken once the SPIRE server answers as one (",
                                  StableCode(asked), "); are the clocks right?"));
}

// The next look at the file is for another one. The old agent may be known again meanwhile, as in a
// server whose database was restored.
void JoinSource::LeaveToken(const Status& refusal) {
  log().Warning("identity: {}; another join token is waited for", std::string(refusal.message()));
  spent_hash_ = TokenHash(token_);
  OPENSSL_cleanse(token_.data(), token_.size());
  token_.clear();
  state_ = std::move(lost_->state);
  proven_ = lost_->proven;
  lost_.reset();
}

Status JoinSource::Attest(const std::stop_token& stop) {
  if (!attested_) {
    SpireConnection connection = Connection();
    ASSIGN_OR_RETURN(connection.trusted,
                     BundleToAttestBy(options_, lost_ ? lost_->state.bundle : Bundle{}));
    connection.insecure = connection.trusted.roots.empty() && options_.insecure_bootstrap;
    Bundle trusted = connection.trusted;
    ASSIGN_OR_RETURN(const std::unique_ptr<SpireClient> client,
                     SpireClient::Make(std::move(connection), stop));
    ASSIGN_OR_RETURN(NewKey key, MakeNewKey());
    ASSIGN_OR_RETURN(std::string chain, client->Attest(token_, key.request));
    attested_ = Attested{std::move(chain), std::move(key), std::move(trusted)};
  }
  // The token is spent: what it gave is kept before anything else can go wrong.
  JoinState state{.trust_domain = options_.trust_domain,
                  .token_hash = TokenHash(token_),
                  .agent = nullptr,
                  .bundle = attested_->trusted};
  ASSIGN_OR_RETURN(state.agent, ReadAgent(attested_->chain, attested_->key, state.trust_domain));
  Adopt(std::move(state));
  Save();
  attested_.reset();
  lost_.reset();
  OPENSSL_cleanse(token_.data(), token_.size());
  token_.clear();
  return absl::OkStatus();
}

Status JoinSource::Prove(const std::stop_token& stop) {
  SpireConnection connection = Connection();
  connection.insecure = options_.insecure_bootstrap && state_->bundle.roots.empty();
  connection.agent = nullptr;
  ASSIGN_OR_RETURN(const std::unique_ptr<SpireClient> client,
                   SpireClient::Make(std::move(connection), stop));
  JoinState state = *state_;
  ASSIGN_OR_RETURN(const SpireBundle bundle, client->OwnBundle());
  ASSIGN_OR_RETURN(state.bundle.roots, ParseCertificatesDer(bundle.roots, kRootsMax));
  RETURN_IF_ERROR(CheckAgent(state, clock().UtcNow()));
  Adopt(std::move(state));
  roots_ = bundle.roots;
  Save();
  proven_ = true;
  settled_ = clock().UtcNow() + kSettling;
  log().Info("identity: this node is an agent of the SPIRE server {}:{}, until {}",
             options_.server_host, options_.server_port, FormatUtc(state_->agent->not_after));
  return absl::OkStatus();
}

Status JoinSource::RenewAgent(const std::stop_token& stop) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SpireClient> client,
                   SpireClient::Make(Connection(), stop));
  ASSIGN_OR_RETURN(const NewKey key, MakeNewKey());
  ASSIGN_OR_RETURN(const std::string chain, client->RenewAgent(key.request));
  JoinState state = *state_;
  ASSIGN_OR_RETURN(const SpireBundle bundle, client->OwnBundle());
  ASSIGN_OR_RETURN(state.bundle.roots, ParseCertificatesDer(bundle.roots, kRootsMax));
  ASSIGN_OR_RETURN(state.agent, ReadAgent(chain, key, state.trust_domain));
  RETURN_IF_ERROR(CheckAgent(state, clock().UtcNow()));
  Adopt(std::move(state));
  roots_ = bundle.roots;
  // Before its first use: from then on the server takes the old one no more.
  Save();
  log().Info("identity: the agent of this node is renewed, until {}",
             FormatUtc(state_->agent->not_after));
  return absl::OkStatus();
}

Status JoinSource::Choose(SpireClient& client) {
  ASSIGN_OR_RETURN(std::vector<JoinEntry> entries, client.Entries());
  Result<JoinEntry> chosen =
      ChooseEntry(std::move(entries), options_.choice, options_.trust_domain);
  if (!chosen.ok()) {
    // A new agent's entries come a little later; what another agent had issued is good until then.
    if (clock().UtcNow() >= settled_) ForgetEntry();
    return chosen.status();
  }
  if (entry_ != *chosen) times_.svid.reset();
  entry_ = *std::move(chosen);
  return absl::OkStatus();
}

void JoinSource::ForgetEntry() {
  entry_.reset();
  times_.svid.reset();
  Withdraw();
}

Status JoinSource::IssueSvid(SpireClient& client) {
  ASSIGN_OR_RETURN(const NewKey key, MakeNewKey());
  SvidFields fields{.id = entry_->spiffe_id, .chain = {}, .key = {}, .bundle = {}, .hint = {}};
  ASSIGN_OR_RETURN(fields.key, KeyPkcs8(*key.key));
  ASSIGN_OR_RETURN(fields.chain, client.NewSvid(*entry_, key.request));
  fields_ = std::move(fields);
  return absl::OkStatus();
}

Result<WorkloadState> JoinSource::ReadAll(SpireClient& client) {
  WorkloadState raw;
  raw.svids = {fields_};
  // After the certificate, so that its CA is in it even if it is a new one.
  ASSIGN_OR_RETURN(newest_, client.OwnBundle());
  raw.svids[0].bundle = newest_.roots;
  ASSIGN_OR_RETURN(raw.federated, federated_.Read(client, entry_->federates_with, secrets_, log()));
  return raw;
}

Status JoinSource::Look(const std::stop_token& stop, bool agent_is_new) {
  ASSIGN_OR_RETURN(const std::unique_ptr<SpireClient> client,
                   SpireClient::Make(Connection(), stop));
  RETURN_IF_ERROR(Choose(*client));
  const UtcTime now = clock().UtcNow();
  const bool renew = !times_.svid || RenewalDue(*times_.svid, now);
  if (renew) RETURN_IF_ERROR(IssueSvid(*client));
  ASSIGN_OR_RETURN(const WorkloadState raw, ReadAll(*client));
  ASSIGN_OR_RETURN(const WorkloadIdentity identity,
                   ReadWorkloadState(raw, {.paths = {"*"}, .hint = ""}, now));
  SaveBundle(raw.svids[0].bundle);
  if (!identity.trouble.ok()) {
    // The CA of our certificate is gone from the bundle, or so. What must no longer be trusted is
    // not, and the next try has a new certificate issued, due or not.
    times_.svid.reset();
    auto state = std::make_shared<IdentityState>(*identity.state);
    state->svid = Current()->svid;
    Publish(std::move(state), Redacted(identity.trouble, secrets_));
    return identity.trouble;
  }
  if (!identity.left_out.empty() && identity.left_out != left_out_) {
    log().Warning("identity: {}", Redacted(identity.left_out, secrets_));
  }
  left_out_ = identity.left_out;
  if (renew) times_.svid = LifeOf(*identity.state->svid, now);
  times_.looked = now;
  Publish(identity.state, unsaved_);
  // A tainted CA's certificates are replaced at the next look, which then is at once.
  if (!renew && OnlyTaintedVouch(identity.state->svid->chain, options_.trust_domain, newest_, now))
    times_.svid = {now, now};
  if (!agent_is_new && OnlyTaintedVouch(state_->agent->chain, options_.trust_domain, newest_, now))
    times_.agent = {now, now};
  return unsaved_;
}

void JoinSource::SaveBundle(const std::string& roots_der) {
  if (roots_der == roots_ && unsaved_.ok()) return;
  Result<std::vector<std::shared_ptr<X509>>> roots = ParseCertificatesDer(roots_der, kRootsMax);
  if (!roots.ok()) return;  // ReadWorkloadState() has read them already.
  roots_ = roots_der;
  state_->bundle.roots = *std::move(roots);
  Save();
}

}  // namespace

Result<std::unique_ptr<LiveSource>> StartJoinSource(JoinOptions options, const Clock& clock,
                                                    Log log) {
  RETURN_IF_ERROR(CheckJoinOptions(options));
  const std::string path = JoinStatePath(options.state_dir);
  Result<JoinState> kept = ReadJoinState(path);
  JoinStart start = JoinStart::kAttest;
  const bool awaits_token = options.token.empty() && !options.token_file.empty();
  if (!awaits_token || !absl::IsNotFound(kept.status())) {
    ASSIGN_OR_RETURN(start, DecideJoinStart({.state = kept,
                                             .path = path,
                                             .trust_domain = options.trust_domain,
                                             .token_hash = TokenHash(options.token),
                                             .token_in_file = !options.token_file.empty(),
                                             .now = clock.UtcNow()}));
  }
  // Found out before a token is spent on an agent that cannot be kept.
  RETURN_IF_ERROR(
      PrepareStateDirectory(options.state_dir, start == JoinStart::kAttest ? kStateBytes : 0));
  if (start == JoinStart::kResume) {
    OPENSSL_cleanse(options.token.data(), options.token.size());
    options.token.clear();             // It is spent, or stays in its file.
    if (kept->bundle.roots.empty()) {  // It ended between an insecure bootstrap and its bundle.
      RETURN_IF_ERROR(CheckBootstrap(options, log));
      if (!options.insecure_bootstrap) {
        ASSIGN_OR_RETURN(kept->bundle, ReadBundleFile(options.bundle_file));
      }
    }
    return std::unique_ptr<LiveSource>(
        new JoinSource(std::move(options), *std::move(kept), clock, std::move(log)));
  }
  if (!kept.ok() && !absl::IsNotFound(kept.status())) {
    log.Warning("{}; the join token replaces it", ErrorLine(kept.status(), "identity"));
  }
  RETURN_IF_ERROR(CheckBootstrap(options, log));
  return std::unique_ptr<LiveSource>(
      new JoinSource(std::move(options), std::nullopt, clock, std::move(log)));
}

}  // namespace starling
