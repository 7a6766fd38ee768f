#include "identity/spiffe/fake_spire_testing.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/text.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "identity/certificate.h"
#include "identity/certificate_testing.h"
#include "identity/spiffe/spire/agent.grpc.pb.h"
#include "identity/spiffe/spire/bundle.grpc.pb.h"
#include "identity/spiffe/spire/entry.grpc.pb.h"
#include "identity/spiffe/spire/svid.grpc.pb.h"

namespace starling::testing {
namespace {

namespace api = spire::api::server;
namespace types = spire::api::types;
using grpc::ServerContext;
using RequestPtr = Owned<X509_REQ, &X509_REQ_free>;

constexpr auto kBackdated = std::chrono::seconds(10);  // as SPIRE does
constexpr auto kStopping = std::chrono::milliseconds(200);

UtcTime Now() { return RealClock().UtcNow(); }

constexpr std::string_view kTokenAgents = "/spire/agent/join_token/";

std::string Text(const types::SPIFFEID& id) {
  return StrCat("spiffe://", id.trust_domain(), id.path());
}
// Only who comes over the operator's socket shows no certificate, and is no agent.
bool IsOperator(const ServerContext& context) { return context.peer().starts_with("unix:"); }
grpc::Status NoOperator() { return {grpc::StatusCode::PERMISSION_DENIED, "not by the socket"}; }

grpc::Status Refused(types::PermissionDeniedDetails::Reason reason) {
  types::PermissionDeniedDetails denied;
  denied.set_reason(reason);
  types::StatusDetails details;
  details.set_code(grpc::StatusCode::PERMISSION_DENIED);
  details.add_details()->PackFrom(denied);
  return {grpc::StatusCode::PERMISSION_DENIED, "agent is not fine", details.SerializeAsString()};
}

// The key of a request that is signed with it.
Result<KeyPtr> KeyOf(const std::string& der) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(der.data());
  const RequestPtr request(d2i_X509_REQ(nullptr, &bytes, static_cast<long>(der.size())));
  KeyPtr key(request ? X509_REQ_get_pubkey(request.get()) : nullptr);
  if (!key || X509_REQ_verify(request.get(), key.get()) != 1) {
    return absl::InvalidArgumentError("a request that is not signed");
  }
  return key;
}

X509Ptr Issue(const FakeCa& ca, const std::string& id, EVP_PKEY& key, std::chrono::seconds life) {
  const Issuer issuer{*ca.certificate, *ca.key};
  return MakeCertificate(
             {.uris = {id}, .not_before = Now() - kBackdated, .not_after = Now() + life}, key,
             &issuer)
      .value();
}

grpc::Status IssueFor(const FakeCa& ca, const std::string& id, const std::string& csr,
                      std::chrono::seconds life, types::X509SVID* svid) {
  const Result<KeyPtr> key = KeyOf(csr);
  if (!key.ok()) {
    return {grpc::StatusCode::INVALID_ARGUMENT, std::string(key.status().message())};
  }
  svid->add_cert_chain(Der(*Issue(ca, id, **key, life)));
  const SpiffeId parsed = SpiffeId::Parse(id).value();
  svid->mutable_id()->set_trust_domain(std::string(parsed.trust_domain()));
  svid->mutable_id()->set_path(std::string(parsed.path()));
  return grpc::Status::OK;
}

types::X509Certificate* Fill(const std::string& trust_domain, const FakeCa& ca,
                             types::Bundle* bundle) {
  bundle->set_trust_domain(trust_domain);
  types::X509Certificate* const authority = bundle->add_x509_authorities();
  authority->set_asn1(Der(*ca.certificate));
  return authority;
}

// The agent whose certificate the caller shows, or why it is none.
grpc::Status AuthorizeAgent(const ServerContext& context, FakeSpireWorld& world, std::string* id) {
  const auto shown = context.auth_context()->FindPropertyValues("x509_pem_cert");
  if (shown.empty()) return {grpc::StatusCode::PERMISSION_DENIED, "no agent"};
  if (world.refuses_agents) return Refused(*world.refuses_agents);
  const auto certificates = ParseCertificates({shown[0].data(), shown[0].size()}).value();
  IdentityState trusting;
  for (const auto& ca : world.cas) {
    trusting.bundles[std::string(SpiffeIdOf(*ca->certificate)->trust_domain())].roots.push_back(
        ca->certificate);
  }
  const auto peer = VerifyPeer({certificates[0].get()}, trusting, PeerPolicy{{}, {"*"}}, Now());
  if (!peer.ok()) return Refused(types::PermissionDeniedDetails::AGENT_EXPIRED);
  const auto agent = world.agents.find(peer->text());
  if (agent == world.agents.end()) {
    return Refused(types::PermissionDeniedDetails::AGENT_NOT_ATTESTED);
  }
  const std::string leaf = Der(*certificates[0]);
  if (leaf == agent->second.renewed) agent->second.active = leaf;
  if (leaf != agent->second.active) {
    return Refused(types::PermissionDeniedDetails::AGENT_NOT_ACTIVE);
  }
  *id = peer->text();
  return grpc::Status::OK;
}

class AgentService final : public api::agent::v1::Agent::Service {
 public:
  AgentService(Guarded<FakeSpireWorld>& world, std::string trust_domain)
      : world_(world), trust_domain_(std::move(trust_domain)) {}

  grpc::Status AttestAgent(
      ServerContext* /*context*/,
      grpc::ServerReaderWriter<api::agent::v1::AttestAgentResponse,
                               api::agent::v1::AttestAgentRequest>* stream) override {
    api::agent::v1::AttestAgentRequest request;
    api::agent::v1::AttestAgentResponse response;
    if (!stream->Read(&request)) return {grpc::StatusCode::INVALID_ARGUMENT, "no request"};
    grpc::Status status =
        world_.With([&](FakeSpireWorld& world) { return Attest(world, request, &response); });
    if (status.ok()) stream->Write(response);
    return status;
  }

  grpc::Status RenewAgent(ServerContext* context, const api::agent::v1::RenewAgentRequest* request,
                          api::agent::v1::RenewAgentResponse* response) override {
    return world_.With([&](FakeSpireWorld& world) {
      ++world.renewals;
      std::string id;
      grpc::Status status = AuthorizeAgent(*context, world, &id);
      if (status.ok()) {
        status = IssueFor(*world.signer, id, request->params().csr(), world.agent_life,
                          response->mutable_svid());
      }
      if (status.ok()) world.agents[id].renewed = response->svid().cert_chain(0);
      return status;
    });
  }

  grpc::Status GetAgent(ServerContext* context, const api::agent::v1::GetAgentRequest* request,
                        types::Agent* response) override {
    if (!IsOperator(*context)) return NoOperator();
    return world_.With([&](FakeSpireWorld& world) -> grpc::Status {
      if (!world.agents.contains(Text(request->id())))
        return {grpc::StatusCode::NOT_FOUND, StrCat("agent not found: ", request->id().path())};
      *response->mutable_id() = request->id();
      return grpc::Status::OK;
    });
  }

  grpc::Status CreateJoinToken(ServerContext* context,
                               const api::agent::v1::CreateJoinTokenRequest* request,
                               types::JoinToken* response) override {
    if (!IsOperator(*context)) return NoOperator();
    return world_.With([&](FakeSpireWorld& world) {
      const std::string token = StrCat("made-token-", world.made_tokens.size());
      world.tokens.insert(token);
      world.made_tokens.push_back(token);
      response->set_value(token);
      response->set_expires_at(UnixMs(Now() + world.token_clock_shift) / 1000 + request->ttl());
      types::Entry alias;
      alias.set_id(StrCat("alias-of-", token));
      *alias.mutable_spiffe_id() = request->agent_id();
      alias.mutable_parent_id()->set_trust_domain(trust_domain_);
      alias.mutable_parent_id()->set_path(StrCat(kTokenAgents, token));
      world.registered.push_back(alias);
      if (world.token_answers_to_lose > 0) {
        --world.token_answers_to_lose;
        return grpc::Status(grpc::StatusCode::UNAVAILABLE, "lost");
      }
      return grpc::Status::OK;
    });
  }

 private:
  grpc::Status Attest(FakeSpireWorld& world, const api::agent::v1::AttestAgentRequest& request,
                      api::agent::v1::AttestAgentResponse* response) const {
    ++world.attestations;
    if (world.attestations_to_limit > 0) {
      --world.attestations_to_limit;
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "rate (1) exceeded"};
    }
    const std::string token = request.params().data().payload();
    if (request.params().data().type() != "join_token") {
      return {grpc::StatusCode::FAILED_PRECONDITION, "no such attestor"};
    }
    if (world.tokens.erase(token) == 0) {
      return {grpc::StatusCode::INVALID_ARGUMENT,
              StrCat("failed to attest: join token does not exist or has already been used (",
                     token, ")")};
    }
    const std::string id = StrCat("spiffe://", trust_domain_, "/spire/agent/join_token/", token);
    grpc::Status status = IssueFor(*world.signer, id, request.params().params().csr(),
                                   world.agent_life, response->mutable_result()->mutable_svid());
    if (status.ok()) {
      world.agents[id] = {.active = response->result().svid().cert_chain(0), .renewed = {}};
    }
    return status;
  }

  Guarded<FakeSpireWorld>& world_;
  const std::string trust_domain_;
};

class BundleService final : public api::bundle::v1::Bundle::Service {
 public:
  BundleService(Guarded<FakeSpireWorld>& world, std::string trust_domain)
      : world_(world), trust_domain_(std::move(trust_domain)) {}

  grpc::Status GetBundle(ServerContext* /*context*/,
                         const api::bundle::v1::GetBundleRequest* /*request*/,
                         types::Bundle* response) override {
    return world_.With([&](FakeSpireWorld& world) -> grpc::Status {
      if (world.bundles_to_lose > 0) {
        --world.bundles_to_lose;
        return {grpc::StatusCode::UNAVAILABLE, "lost"};
      }
      for (const auto& ca : world.cas) {
        Fill(trust_domain_, *ca, response)->set_tainted(ca == world.tainted);
      }
      return grpc::Status::OK;
    });
  }

  grpc::Status GetFederatedBundle(ServerContext* context,
                                  const api::bundle::v1::GetFederatedBundleRequest* request,
                                  types::Bundle* response) override {
    return world_.With([&](FakeSpireWorld& world) -> grpc::Status {
      std::string id;
      grpc::Status status = AuthorizeAgent(*context, world, &id);
      if (!status.ok()) return status;
      const auto ca = world.federated.find(request->trust_domain());
      if (ca == world.federated.end()) return {grpc::StatusCode::NOT_FOUND, "bundle not found"};
      if (world.federated_to_break.contains(ca->first)) {
        return {grpc::StatusCode::INTERNAL, "broken"};
      }
      if (ca->second == nullptr) {
        response->set_trust_domain(ca->first);
        response->add_x509_authorities()->set_asn1("garbage");
        return status;
      }
      Fill(ca->first, *ca->second, response);
      return status;
    });
  }

 private:
  Guarded<FakeSpireWorld>& world_;
  const std::string trust_domain_;
};

class EntryService final : public api::entry::v1::Entry::Service {
 public:
  explicit EntryService(Guarded<FakeSpireWorld>& world) : world_(world) {}
  grpc::Status GetAuthorizedEntries(
      ServerContext* context, const api::entry::v1::GetAuthorizedEntriesRequest* /*request*/,
      api::entry::v1::GetAuthorizedEntriesResponse* response) override {
    return world_.With([&](FakeSpireWorld& world) {
      ++world.looks;
      std::string id;
      grpc::Status status = AuthorizeAgent(*context, world, &id);
      if (status.ok()) {
        for (const types::Entry& entry : world.entries) *response->add_entries() = entry;
      }
      return status;
    });
  }

  // Pages of two, so that there are several.
  grpc::Status ListEntries(ServerContext* context,
                           const api::entry::v1::ListEntriesRequest* request,
                           api::entry::v1::ListEntriesResponse* response) override {
    if (!IsOperator(*context)) return NoOperator();
    constexpr int kPage = 2;
    return world_.With([&](FakeSpireWorld& world) {
      const auto& filter = request->filter();
      std::size_t at = request->page_token().empty() ? 0 : std::stoul(request->page_token());
      for (; at < world.registered.size() && response->entries_size() < kPage; ++at) {
        const types::Entry& entry = world.registered[at];
        const bool fits =
            (!filter.has_by_spiffe_id() ||
             Text(filter.by_spiffe_id()) == Text(entry.spiffe_id())) &&
            (!filter.has_by_parent_id() || Text(filter.by_parent_id()) == Text(entry.parent_id()));
        if (fits) *response->add_entries() = entry;
      }
      if (response->entries_size() == kPage) response->set_next_page_token(StrCat(at));
      return grpc::Status::OK;
    });
  }

  grpc::Status BatchCreateEntry(ServerContext* context,
                                const api::entry::v1::BatchCreateEntryRequest* request,
                                api::entry::v1::BatchCreateEntryResponse* response) override {
    if (!IsOperator(*context)) return NoOperator();
    world_.With([&](FakeSpireWorld& world) {
      for (const types::Entry& entry : request->entries()) {
        types::Status& status = *response->add_results()->mutable_status();
        if (entry.spiffe_id().path() == world.refused_path) {
          status.set_code(grpc::StatusCode::INVALID_ARGUMENT);
          status.set_message("no such federated bundle");
          continue;
        }
        world.registered.push_back(entry);
        world.changes.emplace_back("create");
      }
    });
    return grpc::Status::OK;
  }

  grpc::Status BatchUpdateEntry(ServerContext* context,
                                const api::entry::v1::BatchUpdateEntryRequest* request,
                                api::entry::v1::BatchUpdateEntryResponse* response) override {
    if (!IsOperator(*context)) return NoOperator();
    world_.With([&](FakeSpireWorld& world) {
      const types::EntryMask& mask = request->input_mask();
      for (const types::Entry& entry : request->entries()) {
        types::Status& status = *response->add_results()->mutable_status();
        const auto found = std::ranges::find(world.registered, entry.id(), &types::Entry::id);
        if (found == world.registered.end()) {
          status.set_code(grpc::StatusCode::NOT_FOUND);
          continue;
        }
        if (mask.selectors()) *found->mutable_selectors() = entry.selectors();
        if (mask.dns_names()) *found->mutable_dns_names() = entry.dns_names();
        if (mask.federates_with()) *found->mutable_federates_with() = entry.federates_with();
        if (mask.x509_svid_ttl()) found->set_x509_svid_ttl(entry.x509_svid_ttl());
        world.changes.emplace_back("update");
      }
    });
    return grpc::Status::OK;
  }

  grpc::Status BatchDeleteEntry(ServerContext* context,
                                const api::entry::v1::BatchDeleteEntryRequest* request,
                                api::entry::v1::BatchDeleteEntryResponse* response) override {
    if (!IsOperator(*context)) return NoOperator();
    world_.With([&](FakeSpireWorld& world) {
      for (const std::string& id : request->ids()) {
        if (world.refuses_deletes) {
          response->add_results()->mutable_status()->set_code(grpc::StatusCode::INTERNAL);
          continue;
        }
        const auto gone = std::erase_if(
            world.registered, [&](const types::Entry& entry) { return entry.id() == id; });
        world.changes.emplace_back("delete");
        response->add_results()->mutable_status()->set_code(gone > 0 ? grpc::StatusCode::OK
                                                                     : grpc::StatusCode::NOT_FOUND);
      }
    });
    return grpc::Status::OK;
  }

 private:
  Guarded<FakeSpireWorld>& world_;
};

class SvidService final : public api::svid::v1::SVID::Service {
 public:
  SvidService(Guarded<FakeSpireWorld>& world, std::string trust_domain)
      : world_(world), trust_domain_(std::move(trust_domain)) {}
  grpc::Status BatchNewX509SVID(ServerContext* context,
                                const api::svid::v1::BatchNewX509SVIDRequest* request,
                                api::svid::v1::BatchNewX509SVIDResponse* response) override {
    return world_.With([&](FakeSpireWorld& world) {
      std::string id;
      grpc::Status status = AuthorizeAgent(*context, world, &id);
      for (int i = 0; status.ok() && i < request->params_size(); ++i) {
        ++world.svids;
        const grpc::Status one = Issue(world, request->params(i), response->add_results());
        response->mutable_results(i)->mutable_status()->set_code(one.error_code());
        response->mutable_results(i)->mutable_status()->set_message(one.error_message());
      }
      return status;
    });
  }

 private:
  grpc::Status Issue(FakeSpireWorld& world, const api::svid::v1::NewX509SVIDParams& params,
                     api::svid::v1::BatchNewX509SVIDResponse::Result* result) const {
    const auto entry = std::ranges::find(world.entries, params.entry_id(), &types::Entry::id);
    if (entry == world.entries.end()) return {grpc::StatusCode::NOT_FOUND, "entry not found"};
    return IssueFor(*world.signer, StrCat("spiffe://", trust_domain_, entry->spiffe_id().path()),
                    params.csr(), world.svid_life, result->mutable_svid());
  }

  Guarded<FakeSpireWorld>& world_;
  const std::string trust_domain_;
};

}  // namespace

FakeCa::FakeCa(const std::string& trust_domain) : key(MakeKey().value()) {
  const CertificateSpec spec{.common_name = "CA",
                             .uris = {"spiffe://" + trust_domain},
                             .is_ca = true,
                             .key_usage = "critical,keyCertSign,cRLSign",
                             .not_before = Now() - kBackdated,
                             .not_after = Now() + std::chrono::hours(24)};
  certificate = {MakeCertificate(spec, *key, nullptr).value().release(), &X509_free};
}

void FakeSpireWorld::AddEntry(const std::string& id, const std::string& path,
                              const std::string& hint) {
  types::Entry entry;
  entry.set_id(id);
  entry.mutable_spiffe_id()->set_trust_domain(
      std::string(SpiffeIdOf(*signer->certificate)->trust_domain()));
  entry.mutable_spiffe_id()->set_path(path);
  entry.set_hint(hint);
  entries.push_back(entry);
}

struct FakeSpire::Services {
  Services(Guarded<FakeSpireWorld>& world, const std::string& trust_domain)
      : agent(world, trust_domain),
        bundle(world, trust_domain),
        entry(world),
        svid(world, trust_domain) {}
  AgentService agent;
  BundleService bundle;
  EntryService entry;
  SvidService svid;
};

FakeSpire::FakeSpire(const std::string& trust_domain, const std::string& path)
    : trust_domain_(trust_domain),
      path_(path),
      services_(std::make_unique<Services>(world_, trust_domain)) {
  world_.With([&](FakeSpireWorld& world) {
    world.signer = std::make_shared<FakeCa>(trust_domain);
    world.cas = {world.signer};
  });
  Start();
}

FakeSpire::~FakeSpire() { Stop(); }

void FakeSpire::Stop() {
  if (server_ == nullptr) return;
  server_->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                 gpr_time_from_millis(Millis(kStopping), GPR_TIMESPAN)));
  server_->Wait();
  server_.reset();
}

void FakeSpire::Start() {
  const KeyPtr key = MakeKey().value();
  const X509Ptr certificate = world_.With([&](FakeSpireWorld& world) {
    return Issue(*world.signer, StrCat("spiffe://", trust_domain_, path_), *key,
                 std::chrono::hours(1));
  });
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
  tls.pem_key_cert_pairs.push_back({KeyPem(*key).value(), CertificatePem(*certificate).value()});
  grpc::ServerBuilder builder;
  int bound = 0;
  builder.AddListeningPort(StrCat("127.0.0.1:", port_), grpc::SslServerCredentials(tls), &bound);
  if (!socket_.empty())
    builder.AddListeningPort(StrCat("unix:", socket_), grpc::InsecureServerCredentials());
  builder.RegisterService(&services_->agent);
  builder.RegisterService(&services_->bundle);
  builder.RegisterService(&services_->entry);
  builder.RegisterService(&services_->svid);
  server_ = builder.BuildAndStart();
  CHECK(server_ != nullptr && bound > 0);
  port_ = static_cast<std::uint16_t>(bound);
}

void FakeSpire::ServeOperator(const std::string& socket) {
  Stop();
  socket_ = socket;
  Start();
}

std::string FakeSpire::BundlePem() {
  return world_.With([](FakeSpireWorld& world) {
    std::string pem;
    for (const auto& ca : world.cas) pem += CertificatePem(*ca->certificate).value();
    return pem;
  });
}

}  // namespace starling::testing
