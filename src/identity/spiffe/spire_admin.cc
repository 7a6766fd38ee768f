#include "identity/spiffe/spire_admin.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/secrets.h"
#include "base/text.h"
#include "grpcpp/grpcpp.h"
#include "identity/certificate.h"
#include "identity/spiffe/grpc_call.h"
#include "identity/spiffe/quiet_grpc.h"
#include "identity/spiffe/spire/agent.grpc.pb.h"
#include "identity/spiffe/spire/bundle.grpc.pb.h"
#include "identity/spiffe/spire/entry.grpc.pb.h"

namespace starling {
namespace {

namespace api = spire::api::server;
namespace types = spire::api::types;

constexpr int kMessageBytesMax = 16 << 20;
constexpr int kPageSize = 200;
constexpr std::size_t kEntriesMax = 10'000;
constexpr std::size_t kServerWordsMax = 300;
constexpr std::string_view kTokenAgents = "/spire/agent/join_token/";
constexpr std::string_view kScheme = "spiffe://";

std::string_view WithoutScheme(std::string_view domain) {
  return domain.starts_with(kScheme) ? domain.substr(kScheme.size()) : domain;
}

SpireEntry EntryOf(const types::Entry& entry) {
  SpireEntry out{.id = entry.id(),
                 .path = entry.spiffe_id().path(),
                 .parent = entry.parent_id().path(),
                 .selectors = {},
                 .dns_names = {entry.dns_names().begin(), entry.dns_names().end()},
                 .federates_with = {},
                 .x509_svid_ttl = std::chrono::seconds(entry.x509_svid_ttl())};
  for (const types::Selector& selector : entry.selectors())
    out.selectors.push_back(StrCat(selector.type(), ":", selector.value()));
  for (const std::string& domain : entry.federates_with())
    out.federates_with.emplace_back(WithoutScheme(domain));
  return out;
}

}  // namespace

struct SpireAdmin::Impl {
  template <typename Call>
  Status Do(std::string_view what, const Call& call) {
    return StatusOf(CallWithin(options.call_timeout, stop, call), what);
  }
  [[nodiscard]] Status StatusOf(const grpc::Status& status, std::string_view what) const;
  [[nodiscard]] Status Broken(std::string_view what) const {
    return WithCode(absl::InternalError(StrCat(Server(), " answered with ", what)),
                    "spire-server-error");
  }
  [[nodiscard]] std::string Server() const {
    return StrCat("the SPIRE server at unix:", options.socket);
  }
  [[nodiscard]] Status Outcome(const types::Status& one, std::string_view what) const {
    return StatusOf({static_cast<grpc::StatusCode>(one.code()), one.message()}, what);
  }
  void Hide(const std::string& token) {
    if (!token.empty() && std::ranges::find(secrets, token) == secrets.end())
      secrets.push_back(token);
  }
  [[nodiscard]] types::SPIFFEID Id(const std::string& path) const {
    types::SPIFFEID id;
    id.set_trust_domain(options.trust_domain);
    id.set_path(path);
    return id;
  }
  [[nodiscard]] types::Entry Message(const SpireEntry& entry) const;
  Result<std::vector<SpireEntry>> List(const api::entry::v1::ListEntriesRequest::Filter& filter);

  SpireAdminOptions options;
  std::stop_token stop;
  std::vector<std::string> secrets;  // tokens that a call was about: never repeated in an error
  std::shared_ptr<grpc::Channel> channel;
};

Status SpireAdmin::Impl::StatusOf(const grpc::Status& status, std::string_view what) const {
  if (status.ok()) return absl::OkStatus();
  if (stop.stop_requested()) return absl::CancelledError("stopped");
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE ||
      status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    const std::string& words = status.error_message();
    const auto says = [&](const char* part) { return words.find(part) != std::string::npos; };
    const std::string_view why = status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED
                                     ? "it does not answer"
                                 : says("No such file")       ? "there is no such socket"
                                 : says("Connection refused") ? "nobody listens there"
                                 : says("Permission denied")  ? "this user may not use its socket"
                                                              : "the connection broke";
    return WithNext(WithCode(absl::UnavailableError(StrCat(Server(), " cannot be reached: ", why)),
                             "spire-server-unreachable"),
                    "start it, or correct --server-socket; this is tried again by itself");
  }
  // Secrets first: cut or escaped they would not be found.
  return WithNext(
      WithCode(
          Status(static_cast<absl::StatusCode>(status.error_code()),
                 StrCat(Server(), ": ", what, ": ",
                        Printable(Redacted(status.error_message(), secrets), kServerWordsMax))),
          "spire-server-error"),
      "look at the log of the SPIRE server; this is tried again by itself");
}

types::Entry SpireAdmin::Impl::Message(const SpireEntry& entry) const {
  types::Entry message;
  message.set_id(entry.id);
  *message.mutable_spiffe_id() = Id(entry.path);
  *message.mutable_parent_id() = Id(entry.parent);
  for (const std::string& selector : entry.selectors) {
    const std::size_t colon = std::min(selector.find(':'), selector.size() - 1);
    types::Selector* const added = message.add_selectors();
    added->set_type(selector.substr(0, colon));
    added->set_value(selector.substr(colon + 1));
  }
  for (const std::string& name : entry.dns_names) message.add_dns_names(name);
  for (const std::string& domain : entry.federates_with) message.add_federates_with(domain);
  message.set_x509_svid_ttl(static_cast<std::int32_t>(entry.x509_svid_ttl.count()));
  return message;
}

Result<std::vector<SpireEntry>> SpireAdmin::Impl::List(
    const api::entry::v1::ListEntriesRequest::Filter& filter) {
  const auto stub = api::entry::v1::Entry::NewStub(channel);
  api::entry::v1::ListEntriesRequest ask;
  *ask.mutable_filter() = filter;
  ask.set_page_size(kPageSize);
  std::vector<SpireEntry> entries;
  do {
    api::entry::v1::ListEntriesResponse answer;
    RETURN_IF_ERROR(Do("reading the entries", [&](grpc::ClientContext& context) {
      return stub->ListEntries(&context, ask, &answer);
    }));
    for (const types::Entry& entry : answer.entries()) entries.push_back(EntryOf(entry));
    if (entries.size() > kEntriesMax) return Broken("too many entries");
    // A page of nothing that promises another one would go on for ever.
    if (answer.entries().empty() && !answer.next_page_token().empty())
      return Broken("an empty page of entries");
    ask.set_page_token(answer.next_page_token());
  } while (!ask.page_token().empty());
  std::ranges::sort(entries, {}, &SpireEntry::id);
  return entries;
}

SpireAdmin::SpireAdmin(const SpireAdminOptions& options, std::stop_token stop)
    : impl_(std::make_unique<Impl>()) {
  QuietGrpc();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // never a connection of another one
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
  impl_->channel = grpc::CreateCustomChannel(StrCat("unix:", options.socket),
                                             grpc::InsecureChannelCredentials(), arguments);
  impl_->options = options;
  impl_->stop = std::move(stop);
}
SpireAdmin::~SpireAdmin() = default;

std::string SpireAdmin::AgentPath(const std::string& token) { return StrCat(kTokenAgents, token); }

std::string SpireAdmin::TokenOf(const std::string& agent_path) {
  return agent_path.starts_with(kTokenAgents) ? agent_path.substr(kTokenAgents.size()) : "";
}

Result<std::string> SpireAdmin::BundlePem() {
  const auto stub = api::bundle::v1::Bundle::NewStub(impl_->channel);
  types::Bundle answer;
  RETURN_IF_ERROR(impl_->Do("reading the bundle", [&](grpc::ClientContext& context) {
    return stub->GetBundle(&context, {}, &answer);
  }));
  if (const std::string_view domain = WithoutScheme(answer.trust_domain());
      domain != impl_->options.trust_domain) {
    return WithNext(WithCode(absl::FailedPreconditionError(
                                 StrCat(impl_->Server(), " is of the trust domain ",
                                        Printable(domain), ", not ", impl_->options.trust_domain)),
                             "wrong-trust-domain"),
                    "correct trust_domain in one of the two configurations");
  }
  std::string pem;
  for (const types::X509Certificate& authority : answer.x509_authorities()) {
    const auto parsed = ParseCertificatesDer(authority.asn1(), kRootsMax);
    if (!parsed.ok() || parsed->empty()) return impl_->Broken("a bundle that cannot be read");
    for (const auto& certificate : *parsed) {
      ASSIGN_OR_RETURN(const std::string one, CertificatePem(*certificate));
      pem += one;
    }
  }
  if (pem.empty()) return impl_->Broken("a bundle without a CA");
  return pem;
}

Result<std::vector<SpireEntry>> SpireAdmin::EntriesOf(const std::string& path,
                                                      const std::string& parent) {
  api::entry::v1::ListEntriesRequest::Filter filter;
  if (!path.empty()) *filter.mutable_by_spiffe_id() = impl_->Id(path);
  if (!parent.empty()) *filter.mutable_by_parent_id() = impl_->Id(parent);
  impl_->Hide(TokenOf(parent));
  return impl_->List(filter);
}

Status SpireAdmin::CreateEntry(const SpireEntry& entry) {
  const auto stub = api::entry::v1::Entry::NewStub(impl_->channel);
  api::entry::v1::BatchCreateEntryRequest ask;
  *ask.add_entries() = impl_->Message(entry);
  api::entry::v1::BatchCreateEntryResponse answer;
  const std::string what = StrCat("making the entry of ", entry.path);
  RETURN_IF_ERROR(impl_->Do(what, [&](grpc::ClientContext& context) {
    return stub->BatchCreateEntry(&context, ask, &answer);
  }));
  if (answer.results_size() != 1) return impl_->Broken("another number of entries than one");
  return impl_->Outcome(answer.results(0).status(), what);
}

Status SpireAdmin::UpdateEntry(const SpireEntry& entry) {
  const auto stub = api::entry::v1::Entry::NewStub(impl_->channel);
  api::entry::v1::BatchUpdateEntryRequest ask;
  *ask.add_entries() = impl_->Message(entry);
  types::EntryMask& mask = *ask.mutable_input_mask();
  mask.set_selectors(true);
  mask.set_x509_svid_ttl(true);
  mask.set_federates_with(true);
  mask.set_dns_names(true);
  api::entry::v1::BatchUpdateEntryResponse answer;
  const std::string what = StrCat("changing the entry of ", entry.path);
  RETURN_IF_ERROR(impl_->Do(what, [&](grpc::ClientContext& context) {
    return stub->BatchUpdateEntry(&context, ask, &answer);
  }));
  if (answer.results_size() != 1) return impl_->Broken("another number of entries than one");
  return impl_->Outcome(answer.results(0).status(), what);
}

Status SpireAdmin::DeleteEntry(const std::string& id) {
  const auto stub = api::entry::v1::Entry::NewStub(impl_->channel);
  api::entry::v1::BatchDeleteEntryRequest ask;
  ask.add_ids(id);
  api::entry::v1::BatchDeleteEntryResponse answer;
  RETURN_IF_ERROR(impl_->Do("removing an entry", [&](grpc::ClientContext& context) {
    return stub->BatchDeleteEntry(&context, ask, &answer);
  }));
  if (answer.results_size() != 1) return impl_->Broken("another number of entries than one");
  Status status = impl_->Outcome(answer.results(0).status(), "removing an entry");
  return absl::IsNotFound(status) ? absl::OkStatus() : status;
}

Result<SpireToken> SpireAdmin::CreateToken(const std::string& alias, std::chrono::seconds ttl) {
  const auto stub = api::agent::v1::Agent::NewStub(impl_->channel);
  api::agent::v1::CreateJoinTokenRequest ask;
  ask.set_ttl(static_cast<std::int32_t>(ttl.count()));
  *ask.mutable_agent_id() = impl_->Id(alias);
  types::JoinToken answer;
  RETURN_IF_ERROR(impl_->Do(
      StrCat("making a join token of ", alias),
      [&](grpc::ClientContext& context) { return stub->CreateJoinToken(&context, ask, &answer); }));
  if (answer.value().empty()) return impl_->Broken("an empty join token");
  return SpireToken{answer.value(), FromUnixMs(answer.expires_at() * 1000)};
}

Result<bool> SpireAdmin::TokenIsSpent(const std::string& token) {
  impl_->Hide(token);
  const auto stub = api::agent::v1::Agent::NewStub(impl_->channel);
  api::agent::v1::GetAgentRequest ask;
  *ask.mutable_id() = impl_->Id(AgentPath(token));
  types::Agent answer;
  const Status status = impl_->Do("looking for an agent", [&](grpc::ClientContext& context) {
    return stub->GetAgent(&context, ask, &answer);
  });
  if (absl::IsNotFound(status)) return false;
  RETURN_IF_ERROR(status);
  return true;
}

}  // namespace starling
