#include "identity/spiffe/spire_client.h"

#include <optional>
#include <span>
#include <utility>

#include "base/bytes.h"
#include "base/mailbox.h"
#include "base/secrets.h"
#include "base/text.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "identity/certificate.h"
#include "identity/certificate_request.h"
#include "identity/spiffe/grpc_call.h"
#include "identity/spiffe/quiet_grpc.h"
#include "identity/spiffe/spire/agent.grpc.pb.h"
#include "identity/spiffe/spire/bundle.grpc.pb.h"
#include "identity/spiffe/spire/entry.grpc.pb.h"
#include "identity/spiffe/spire/svid.grpc.pb.h"

namespace starling {
namespace {

namespace api = spire::api::server;
namespace types = spire::api::types;
namespace tls = grpc::experimental;

constexpr int kMessageBytesMax = 16 << 20;
constexpr std::size_t kServerWordsMax = 300;
constexpr std::string_view kServerPath = "/spire/server";

// What the verifier, which runs in a thread of gRPC, found wrong with the server.
using Verdict = Guarded<Status>;

Status CheckServer(const std::string& pem, const SpireConnection& options) {
  ASSIGN_OR_RETURN(const std::vector<std::shared_ptr<X509>> certificates, ParseCertificates(pem));
  if (options.insecure) {
    ASSIGN_OR_RETURN(const SpiffeId id, SpiffeIdOf(*certificates.front()));
    if (id.trust_domain() == options.server.trust_domain && id.path() == kServerPath) {
      return absl::OkStatus();
    }
    return WithCode(absl::PermissionDeniedError(StrCat("it is ", id.text())), "wrong-path");
  }
  std::vector<X509*> chain;
  for (const auto& certificate : certificates) chain.push_back(certificate.get());
  const IdentityState trusting{.svid = nullptr,
                               .bundles = {{options.server.trust_domain, options.trusted}}};
  const PeerPolicy policy{{options.server.trust_domain}, {std::string(kServerPath)}};
  return VerifyPeer(chain, trusting, policy, options.now).status();
}

class ServerVerifier final : public tls::ExternalCertificateVerifier {
 public:
  ServerVerifier(const SpireConnection& options, std::shared_ptr<Verdict> verdict)
      : options_(options), verdict_(std::move(verdict)) {}
  bool Verify(tls::TlsCustomVerificationCheckRequest* request,
              std::function<void(grpc::Status)> /*callback*/, grpc::Status* sync_status) override {
    const grpc::string_ref pem = request->peer_cert_full_chain();
    const Status status = CheckServer({pem.data(), pem.size()}, options_);
    verdict_->With([&](Status& verdict) { verdict = status; });
    if (!status.ok()) *sync_status = {grpc::StatusCode::UNAUTHENTICATED, "refused"};
    return true;
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest* /*request*/) override {}

 private:
  const SpireConnection options_;
  const std::shared_ptr<Verdict> verdict_;
};

Result<std::string> ChainPem(const Svid& svid) {
  std::string pem;
  for (const auto& certificate : svid.chain) {
    ASSIGN_OR_RETURN(const std::string one, CertificatePem(*certificate));
    pem += one;
  }
  return pem;
}

// gRPC wants roots although it is our verifier that decides: without any it looks for the system's.
// One that signs nothing will do.
Result<std::string> UnusedRootPem(UtcTime now) {
  ASSIGN_OR_RETURN(const KeyPtr key, MakeKey());
  const CertificateSpec spec{.common_name = "unused",
                             .is_ca = true,
                             .not_before = now,
                             .not_after = now + std::chrono::minutes(1)};
  ASSIGN_OR_RETURN(const X509Ptr certificate, MakeCertificate(spec, *key, nullptr));
  return CertificatePem(*certificate);
}

Result<std::shared_ptr<grpc::ChannelCredentials>> Credentials(
    const SpireConnection& options, const std::shared_ptr<Verdict>& verdict) {
  ASSIGN_OR_RETURN(const std::string root, UnusedRootPem(options.now));
  std::vector<tls::IdentityKeyCertPair> pairs;
  if (options.agent != nullptr) {
    ASSIGN_OR_RETURN(std::string key, KeyPem(*options.agent->key));
    ASSIGN_OR_RETURN(std::string chain, ChainPem(*options.agent));
    pairs.push_back({std::move(key), std::move(chain)});
  }
  tls::TlsChannelCredentialsOptions credentials;
  credentials.set_certificate_provider(
      std::make_shared<tls::StaticDataCertificateProvider>(root, pairs));
  credentials.watch_root_certs();
  if (!pairs.empty()) credentials.watch_identity_key_cert_pairs();
  credentials.set_verify_server_certs(false);
  credentials.set_check_call_host(false);
  credentials.set_certificate_verifier(
      tls::ExternalCertificateVerifier::Create<ServerVerifier>(options, verdict));
  return tls::TlsCredentials(credentials);
}

// What the server says, for an error. Secrets first: cut or escaped they would not be found.
std::string ServerWords(const std::string& words, std::span<const std::string> secrets) {
  return Printable(Redacted(words, secrets), kServerWordsMax);
}

// Stable words: a trouble is logged again whenever its words change.
std::string WhyUnreachable(const grpc::Status& status, std::span<const std::string> secrets) {
  const std::string& words = status.error_message();
  const auto says = [&](const char* what) { return words.find(what) != std::string::npos; };
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) return "it does not answer";
  if (says("Connection refused")) return "connection refused";
  if (says("DNS resolution failed") || says("not found")) return "its name is unknown";
  if (says("No route to host") || says("Network is unreachable")) return "no way to it";
  if (says("andshake") || says("closed") || says("reset")) {
    return "it closed the connection in the handshake";
  }
  return ServerWords(words, secrets);
}

std::string_view WhyRefused(types::PermissionDeniedDetails::Reason reason) {
  switch (reason) {
    case types::PermissionDeniedDetails::AGENT_EXPIRED:
      return "the agent's certificate has run out";
    case types::PermissionDeniedDetails::AGENT_NOT_ATTESTED:
      return "it does not know this agent, which was evicted or is forgotten";
    case types::PermissionDeniedDetails::AGENT_NOT_ACTIVE:
      return "another certificate of this agent is in use, as after a copy of its state";
    case types::PermissionDeniedDetails::AGENT_BANNED:
      return "this agent is banned";
    case types::PermissionDeniedDetails::AGENT_MUST_REATTEST:
      return "this agent must attest anew";
    default:
      return {};
  }
}

// Why the server refuses an agent, "" when the status says nothing of it.
std::string_view RefusedReason(const grpc::Status& status) {
  types::StatusDetails details;
  if (status.error_code() != grpc::StatusCode::PERMISSION_DENIED ||
      !details.ParseFromString(status.error_details())) {
    return {};
  }
  for (const google::protobuf::Any& detail : details.details()) {
    types::PermissionDeniedDetails denied;
    if (detail.UnpackTo(&denied)) return WhyRefused(denied.reason());
  }
  return {};
}

std::string Concatenated(const google::protobuf::RepeatedPtrField<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += part;
  return all;
}

std::string_view WithoutScheme(std::string_view domain) {
  constexpr std::string_view kScheme = "spiffe://";
  return domain.starts_with(kScheme) ? domain.substr(kScheme.size()) : domain;
}

JoinEntry EntryOf(const types::Entry& entry) {
  JoinEntry out{
      .id = entry.id(),
      .spiffe_id = StrCat("spiffe://", entry.spiffe_id().trust_domain(), entry.spiffe_id().path()),
      .hint = entry.hint(),
      .revision = entry.revision_number(),
      .federates_with = {}};
  for (const std::string& domain : entry.federates_with()) {
    out.federates_with.emplace_back(WithoutScheme(domain));
  }
  return out;
}

}  // namespace

std::string SpireServer::Address() const {
  const bool bare_ipv6 = host.find(':') != std::string::npos && !host.starts_with('[');
  return bare_ipv6 ? StrCat("[", host, "]:", port) : StrCat(host, ":", port);
}

struct SpireClient::Impl {
  template <typename Call>
  Status Do(std::string_view what, const Call& call) {
    return StatusOf(CallWithin(options.call_timeout, stop, call), what);
  }
  [[nodiscard]] Status StatusOf(const grpc::Status& status, std::string_view what) const;
  [[nodiscard]] Result<SpireBundle> BundleOf(const types::Bundle& bundle,
                                             std::string_view trust_domain) const;
  [[nodiscard]] std::string Words(const std::string& words) const {
    return ServerWords(words, options.secrets);
  }
  // `what`: of the server's words only Words().
  [[nodiscard]] Status Broken(std::string_view what) const {
    return WithCode(absl::InternalError(StrCat("the SPIRE server at ", options.server.Address(),
                                               " answered with ", what)),
                    "spire-server-error");
  }

  SpireConnection options;
  std::stop_token stop;
  std::shared_ptr<Verdict> verdict;
  std::shared_ptr<grpc::Channel> channel;
};

Status SpireClient::Impl::StatusOf(const grpc::Status& status, std::string_view what) const {
  if (status.ok()) return absl::OkStatus();
  if (stop.stop_requested()) return absl::CancelledError("stopped");
  const std::string server = StrCat("the SPIRE server at ", options.server.Address());
  if (const Status refused = verdict->With([](Status& v) { return v; }); !refused.ok()) {
    return WithNext(
        Annotate(Redacted(refused, options.secrets), StrCat(server, " is not believed")),
        "give the bundle of that server: spire-server bundle show > FILE");
  }
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE ||
      status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return WithNext(
        WithCode(absl::UnavailableError(StrCat(
                     server, " cannot be reached: ", WhyUnreachable(status, options.secrets))),
                 "spire-server-unreachable"),
        "start it, or correct its address; this is tried again by itself");
  }
  if (const std::string_view reason = RefusedReason(status); !reason.empty()) {
    return WithNext(
        WithCode(absl::PermissionDeniedError(StrCat(server, " refuses this node: ", reason)),
                 "agent-refused"),
        NewTokenStep());
  }
  return WithNext(WithCode(Status(static_cast<absl::StatusCode>(status.error_code()),
                                  StrCat(server, ": ", what, ": ", Words(status.error_message()))),
                           "spire-server-error"),
                  "look at the log of the SPIRE server; this is tried again by itself");
}

Result<SpireBundle> SpireClient::Impl::BundleOf(const types::Bundle& bundle,
                                                std::string_view trust_domain) const {
  if (WithoutScheme(bundle.trust_domain()) != trust_domain) {
    return Broken(StrCat("a bundle of ", Words(bundle.trust_domain()), " instead of ",
                         Words(std::string(trust_domain))));
  }
  SpireBundle out;
  for (const types::X509Certificate& authority : bundle.x509_authorities()) {
    out.roots += authority.asn1();
    if (!authority.tainted()) out.untainted += authority.asn1();
  }
  return out;
}

SpireClient::SpireClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SpireClient::~SpireClient() = default;

Result<std::unique_ptr<SpireClient>> SpireClient::Make(SpireConnection options,
                                                       std::stop_token stop) {
  QuietGrpc();
  auto impl = std::make_unique<Impl>();
  impl->verdict = std::make_shared<Verdict>();
  ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials,
                   Credentials(options, impl->verdict));
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // never a connection of another one
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  impl->channel = grpc::CreateCustomChannel(StrCat("dns:///", options.server.Address()),
                                            credentials, arguments);
  impl->options = std::move(options);
  impl->stop = std::move(stop);
  return std::unique_ptr<SpireClient>(new SpireClient(std::move(impl)));
}

Result<std::string> SpireClient::Attest(const std::string& token, const std::string& request) {
  const auto stub = api::agent::v1::Agent::NewStub(impl_->channel);
  api::agent::v1::AttestAgentRequest ask;
  ask.mutable_params()->mutable_data()->set_type("join_token");
  ask.mutable_params()->mutable_data()->set_payload(token);
  ask.mutable_params()->mutable_params()->set_csr(request);
  api::agent::v1::AttestAgentResponse answer;
  const Status status = impl_->Do("attesting this node", [&](grpc::ClientContext& context) {
    const auto stream = stub->AttestAgent(&context);
    const bool answered = stream->Write(ask) && stream->Read(&answer);
    stream->WritesDone();
    api::agent::v1::AttestAgentResponse more;
    while (answered && stream->Read(&more)) continue;
    const grpc::Status end = stream->Finish();
    return answered ? grpc::Status::OK : end;
  });
  if (StableCode(status) == "spire-server-error" &&
      (absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status))) {
    const bool spent = status.message().find("join token") != absl::string_view::npos;
    return WithNext(WithCode(status, spent ? "join-token-spent" : "attestation-refused"),
                    NewTokenStep());
  }
  RETURN_IF_ERROR(status);
  if (!answer.has_result()) return impl_->Broken("a challenge, which no join token has");
  return Concatenated(answer.result().svid().cert_chain());
}

Result<std::string> SpireClient::RenewAgent(const std::string& request) {
  const auto stub = api::agent::v1::Agent::NewStub(impl_->channel);
  api::agent::v1::RenewAgentRequest ask;
  ask.mutable_params()->set_csr(request);
  api::agent::v1::RenewAgentResponse answer;
  RETURN_IF_ERROR(impl_->Do("renewing the agent", [&](grpc::ClientContext& context) {
    return stub->RenewAgent(&context, ask, &answer);
  }));
  return Concatenated(answer.svid().cert_chain());
}

Result<std::vector<JoinEntry>> SpireClient::Entries() {
  const auto stub = api::entry::v1::Entry::NewStub(impl_->channel);
  api::entry::v1::GetAuthorizedEntriesResponse answer;
  RETURN_IF_ERROR(impl_->Do("reading the entries", [&](grpc::ClientContext& context) {
    return stub->GetAuthorizedEntries(&context, {}, &answer);
  }));
  std::vector<JoinEntry> entries;
  for (const types::Entry& entry : answer.entries()) entries.push_back(EntryOf(entry));
  return entries;
}

Result<std::string> SpireClient::NewSvid(const JoinEntry& entry, const std::string& request) {
  const auto stub = api::svid::v1::SVID::NewStub(impl_->channel);
  api::svid::v1::BatchNewX509SVIDRequest ask;
  ask.add_params()->set_entry_id(entry.id);
  ask.mutable_params(0)->set_csr(request);
  api::svid::v1::BatchNewX509SVIDResponse answer;
  RETURN_IF_ERROR(impl_->Do("issuing the certificate", [&](grpc::ClientContext& context) {
    return stub->BatchNewX509SVID(&context, ask, &answer);
  }));
  if (answer.results_size() != 1) return impl_->Broken("another number of certificates than one");
  const types::Status& one = answer.results(0).status();
  const grpc::Status status(static_cast<grpc::StatusCode>(one.code()), one.message());
  RETURN_IF_ERROR(
      impl_->StatusOf(status, StrCat("a certificate of ", impl_->Words(entry.spiffe_id))));
  return Concatenated(answer.results(0).svid().cert_chain());
}

Result<SpireBundle> SpireClient::OwnBundle() {
  const auto stub = api::bundle::v1::Bundle::NewStub(impl_->channel);
  types::Bundle answer;
  RETURN_IF_ERROR(impl_->Do("reading the bundle", [&](grpc::ClientContext& context) {
    return stub->GetBundle(&context, {}, &answer);
  }));
  ASSIGN_OR_RETURN(SpireBundle bundle, impl_->BundleOf(answer, impl_->options.server.trust_domain));
  if (bundle.roots.empty()) return impl_->Broken("a bundle without a CA");
  return bundle;
}

Result<SpireBundle> SpireClient::FederatedBundle(const std::string& trust_domain) {
  const std::string domain(WithoutScheme(trust_domain));
  const auto stub = api::bundle::v1::Bundle::NewStub(impl_->channel);
  api::bundle::v1::GetFederatedBundleRequest ask;
  ask.set_trust_domain(domain);
  types::Bundle answer;
  RETURN_IF_ERROR(impl_->Do(StrCat("reading the bundle of ", impl_->Words(domain)),
                            [&](grpc::ClientContext& context) {
                              return stub->GetFederatedBundle(&context, ask, &answer);
                            }));
  return impl_->BundleOf(answer, domain);
}

}  // namespace starling
