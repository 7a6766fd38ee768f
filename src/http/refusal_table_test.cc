// Who is refused in a handshake, in both directions: by whom, with which code, and what both sides
// say of it: the one who refuses with its reason in its metrics and its log, the one who is refused
// that its log is the place to look. With TLS 1.3 a refused client reads that after its handshake.
#include <functional>
#include <string>
#include <vector>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "base/text.h"
#include "gmock/gmock.h"
#include "http/http_testing.h"
#include "http/metrics.h"
#include "identity/certificate.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

using State = std::shared_ptr<const IdentityState>;

// A certificate authority of which a test has the key, for certificates that a proper one does not
// issue.
class LooseAuthority {
 public:
  LooseAuthority(const std::string& trust_domain, UtcTime now)
      : now_(now), key_(MakeKey().value()) {
    const CertificateSpec spec{.uris = {StrCat("spiffe://", trust_domain)},
                               .is_ca = true,
                               .key_usage = "critical,keyCertSign,cRLSign",
                               .not_before = now - std::chrono::hours(1),
                               .not_after = now + std::chrono::hours(1)};
    certificate_ = {MakeCertificate(spec, *key_, nullptr).value().release(), &X509_free};
  }
  [[nodiscard]] std::shared_ptr<X509> certificate() const { return certificate_; }
  [[nodiscard]] std::shared_ptr<const Svid> Issue(std::vector<std::string> uris) const {
    auto svid = std::make_shared<Svid>();
    svid->id = SpiffeId::Parse(uris.front()).value();
    svid->not_before = now_ - std::chrono::hours(1);
    svid->not_after = now_ + std::chrono::hours(1);
    svid->key = {MakeKey().value().release(), &EVP_PKEY_free};
    const CertificateSpec spec{
        .uris = std::move(uris), .not_before = svid->not_before, .not_after = svid->not_after};
    const Issuer issuer{*certificate_, *key_};
    svid->chain.emplace_back(MakeCertificate(spec, *svid->key, &issuer).value().release(),
                             &X509_free);
    return svid;
  }

 private:
  UtcTime now_;
  KeyPtr key_;
  std::shared_ptr<X509> certificate_;
};

struct World {
  const ManualClock& clock;
  const DevAuthority& ours;
  DevAuthority partner = MakeAuthority("partner.org", clock);
  DevAuthority other_partner = MakeAuthority("partner.org", clock);  // the same name, another key
  DevAuthority forger = MakeAuthority("swarm.local", clock);         // our name, its own key
  LooseAuthority loose{"swarm.local", clock.UtcNow()};               // in our bundle
};

struct Row {
  std::string name;
  std::string code;  // of the side that refuses; "": both get on
  // What the one shows whose role has the path `role` (…/sl or …/sn).
  std::function<State(const World&, const std::string& role)> shown;
  // What the other side believes beside our own authorities; may be empty.
  std::function<void(const World&, IdentityState&)> believes;
};
std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.name; }

State Shown(const World& world, const DevAuthority& issuer, const StateSpec& spec) {
  return MakeState(world.clock, issuer, {&world.ours}, spec);
}
State ShownByPartner(const World& world, const std::string& role) {
  return Shown(world, world.partner, {.path = role});
}

std::vector<Row> Table() {
  using namespace std::chrono_literals;
  return {
      {"OurOwn",
       "",
       [](const World& world, const std::string& role) {
         return Shown(world, world.ours, {.path = role});
       },
       {}},
      {"ForeignTrustDomain", "unknown-trust-domain", ShownByPartner, {}},
      {"ForgedId",
       "unknown-authority",
       [](const World& world, const std::string& role) {
         return Shown(world, world.forger, {.path = role});
       },
       {}},
      {"AnotherPath",
       "wrong-path",
       [](const World& world, const std::string&) {
         return Shown(world, world.ours, {.path = "/swarm/swci"});
       },
       {}},
      {"Expired",
       "expired",
       [](const World& world, const std::string& role) {
         return Shown(world, world.ours, {.path = role, .valid_for = -60s});
       },
       {}},
      {"NotYetValid",
       "not-yet-valid",
       [](const World& world, const std::string& role) {
         return Shown(world, world.ours, {.path = role, .valid_from = 60s});
       },
       {}},
      {"TwoUris",
       "bad-svid",
       [](const World& world, const std::string& role) {
         auto state = std::make_shared<IdentityState>();
         state->svid = world.loose.Issue(
             {StrCat("spiffe://swarm.local", role), StrCat("spiffe://swarm.local", role, "/too")});
         state->bundles[world.ours.trust_domain()] = world.ours.bundle();
         return state;
       },
       {}},
      {"FederatedByItsOwnBundle", "", ShownByPartner,
       [](const World& world, IdentityState& state) {
         state.bundles["partner.org"] = world.partner.bundle();
       }},
      {"FederatedButItsCaIsInOurBundle", "unknown-trust-domain", ShownByPartner,
       [](const World& world, IdentityState& state) {
         state.bundles["swarm.local"].roots.push_back(world.partner.bundle().roots.front());
       }},
      {"FederatedButItsCaIsInOurBundleAndItsOwnHasAnother", "unknown-authority", ShownByPartner,
       [](const World& world, IdentityState& state) {
         state.bundles["swarm.local"].roots.push_back(world.partner.bundle().roots.front());
         state.bundles["partner.org"] = world.other_partner.bundle();
       }},
  };
}

class RefusalTable : public HttpsTest, public ::testing::WithParamInterface<Row> {
 protected:
  void Start() {
    auto started =
        HttpServer::Start(LocalOptions(), server_party_.tls.get(), SayPeer, LogTo("server"));
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
    server_endpoint_ = {"127.0.0.1", server_->port()};
  }
  [[nodiscard]] Log LogTo(const std::string& name) const {
    return Log::ToFile("test", LogLevel::kInfo, LogFormat::kText, PathOf(name));
  }
  [[nodiscard]] std::string PathOf(const std::string& name) const {
    return StrCat(scratch_.path(), "/", name);
  }
  [[nodiscard]] std::string LogOf(const std::string& name) const {
    return ReadFile(PathOf(name)).value_or("");
  }
  // One of ours in the role, who judges by the row's beliefs.
  [[nodiscard]] State Judge(const std::string& role) const {
    auto state = std::make_shared<IdentityState>(
        *MakeState(clock_, authority_, {&authority_}, {.path = role}));
    state->bundles["swarm.local"].roots.push_back(world_.loose.certificate());
    if (GetParam().believes) GetParam().believes(world_, *state);
    return state;
  }
  [[nodiscard]] Result<ClientResponse> Ask() {
    HttpClientOptions options = PatientOptions();
    options.refusals = &refused_servers_;
    HttpClient http(*client_party_.tls, options);
    return http.Do(server_endpoint_, {.target = "/"}, {});
  }
  [[nodiscard]] std::string Metrics() const {
    return MetricsText()
        .Server(server_->counters(), {})
        .RefusedServers(refused_servers_.counts())
        .Take();
  }

  const ScratchDirectory scratch_;
  const World world_{clock_, authority_};
  RefusalBook refused_servers_{LogTo("client"), "the server ", RefusalBook::kServersLogEvery};
};

TEST_P(RefusalTable, AsAClient) {
  const Row& row = GetParam();
  server_party_.source.Set(Judge("/swarm/sn"));
  client_party_.source.Set(row.shown(world_, "/swarm/sl"));
  Start();

  const auto response = Ask();

  if (row.code.empty()) {
    EXPECT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(server_->counters().refused.size(), 0U);
    return;
  }
  ASSERT_FALSE(response.ok());
  // An expired certificate of its own it knows itself, and blames nobody for the refusal.
  const std::string read = row.code == "expired" ? "no-identity" : "refused-by-peer";
  EXPECT_EQ(StableCode(response.status()), read) << response.status();
  EXPECT_EQ(AwaitRefused(row.code), 1U);
  EXPECT_EQ(server_->counters().requests, 0U);
  EXPECT_THAT(Metrics(),
              HasSubstr(StrCat("starling_refused_total{reason=\"", row.code, "\"} 1\n")));
  EXPECT_EQ(refused_servers_.counts().size(), 0U);
  const HttpServer::Refused refused = server_->refused_peers(3600s);
  ASSERT_EQ(refused.peers.size(), 1U);
  EXPECT_EQ(refused.peers[0].host, "127.0.0.1");
  EXPECT_EQ(refused.peers[0].code, row.code);
  client_party_.source.Set(Judge("/swarm/sl"));
  EXPECT_TRUE(Ask().ok());  // Service goes on.
  server_->Stop();
  EXPECT_THAT(LogOf("server"), HasSubstr("refused 127.0.0.1:"));
  EXPECT_THAT(LogOf("server"), HasSubstr(StrCat(": ", row.code, ": ")));
}

TEST_P(RefusalTable, AsAServer) {
  const Row& row = GetParam();
  client_party_.source.Set(Judge("/swarm/sl"));
  server_party_.source.Set(row.shown(world_, "/swarm/sn"));
  Start();

  const auto response = Ask();

  if (row.code.empty()) {
    EXPECT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(refused_servers_.counts().size(), 0U);
    return;
  }
  ASSERT_FALSE(response.ok());
  EXPECT_EQ(StableCode(response.status()), row.code) << response.status();
  EXPECT_THAT(ErrorLine(response.status(), "status"), HasSubstr(row.code));
  EXPECT_EQ(refused_servers_.counts(), (RefusalCounts{{row.code, 1}}));
  EXPECT_THAT(LogOf("client"), HasSubstr(StrCat("refused the server ", server_endpoint_.Text(),
                                                ": ", row.code, ": ")));
  EXPECT_EQ(AwaitRefused("refused-by-peer"), 1U);
  EXPECT_EQ(server_->counters().requests, 0U);
  EXPECT_THAT(Metrics(),
              HasSubstr(StrCat("starling_refused_servers_total{reason=\"", row.code, "\"} 1\n")));
  EXPECT_THAT(Metrics(), HasSubstr("starling_refused_total{reason=\"refused-by-peer\"} 1\n"));
}

INSTANTIATE_TEST_SUITE_P(Rows, RefusalTable, ::testing::ValuesIn(Table()),
                         [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace starling
