// An API server of Kubernetes as far as who patches Secrets meets it: HTTPS on a loopback port, a
// bearer token, merge patches. Its certificate is checked by testing::kNow unless told otherwise.
// Any thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fs.h"
#include "base/mailbox.h"
#include "base/scratch_testing.h"
#include "base/text.h"
#include "crypto/json.h"
#include "http/web_server_testing.h"
#include "tokens/secrets_client.h"

namespace starling::testing {

struct FakeKubeWorld {
  std::map<std::string, Json> secrets;  // by namespace/name, as the API says them
  std::string token = "token-of-this-pod";
  std::optional<std::string> answer;           // instead of everything else: all bytes of it
  std::map<std::string, std::string> answers;  // the same by the Secret's namespace/name
  std::vector<std::string> heads, texts;       // of the requests that came
  std::string strip_annotation;                // what a webhook takes out again
  [[nodiscard]] std::string Data(const std::string& secret, const std::string& key) const {
    return Base64Decode(secrets.at(secret).at("data").at(key).get<std::string>()).value();
  }
  void Add(const std::string& space, const std::string& name) {
    secrets[StrCat(space, "/", name)] = {
        {"kind", "Secret"},
        {"apiVersion", "v1"},
        {"metadata", {{"name", name}, {"namespace", space}, {"uid", StrCat("uid-", name)}}}};
  }
};

class FakeKube {
 public:
  explicit FakeKube(UtcTime now = kNow) : spec_(LeafSpec({})) {
    spec_.ips = {"127.0.0.1"};
    spec_.not_before = now - std::chrono::hours(24);
    spec_.not_after = now + std::chrono::hours(24);
    CertificateSpec ca = CaSpec({});
    ca.not_before = spec_.not_before;
    ca.not_after = spec_.not_after;
    ca_ = std::make_unique<Ca>(ca);
    WriteAccount("token-of-this-pod\n");
    EXPECT_TRUE(
        WriteFileDurably(scratch_.File("ca.crt"), CertificatePem(*ca_->certificate).value()).ok());
    server_ = std::make_unique<WebServer>(
        *ca_, spec_, [this](const WebServer::Request& request) { return Answer(request); });
  }
  void WriteAccount(const std::string& token) {
    EXPECT_TRUE(WriteFileDurably(scratch_.File("token"), token).ok());
  }
  // Every connection ends without an answer, until Answers(true).
  void Answers(bool answers) {
    world_.With([&](FakeKubeWorld& world) {
      world.answer = answers ? std::nullopt : std::optional<std::string>("");
    });
  }
  [[nodiscard]] KubeOptions Options() const {
    return {.server = {"127.0.0.1", server_->port()},
            .token_file = scratch_.File("token"),
            .ca_file = scratch_.File("ca.crt"),
            .connect_timeout = std::chrono::seconds(60),
            .answer_timeout = std::chrono::seconds(60)};
  }
  template <typename F>
  auto With(F&& f) {
    return world_.With(std::forward<F>(f));
  }

 private:
  static std::string Problem(int status, const std::string& words) {
    return WebServer::Whole(
        status,
        Json{{"kind", "Status"}, {"status", "Failure"}, {"message", words}, {"code", status}}
            .dump());
  }
  std::string Answer(const WebServer::Request& request) {
    return world_.With([&](FakeKubeWorld& world) {
      world.heads.push_back(request.head);
      world.texts.push_back(request.body);
      if (world.answer) return *world.answer;
      if (request.head.find(StrCat("authorization: Bearer ", world.token, "\r\n")) ==
          std::string::npos) {
        return Problem(401, "Unauthorized");
      }
      constexpr std::string_view kStart = "PATCH /api/v1/namespaces/";
      constexpr std::string_view kType = "content-type: application/merge-patch+json\r\n";
      if (!request.head.starts_with(kStart) || request.head.find(kType) == std::string::npos)
        return Problem(403, "only patch is allowed");
      std::string name = request.head.substr(kStart.size());
      name.resize(std::min(name.find('?'), name.size()));
      const std::size_t middle = name.find("/secrets/");
      if (middle != std::string::npos) name.replace(middle, 9, "/");
      if (const auto own = world.answers.find(name); own != world.answers.end()) return own->second;
      const auto found = world.secrets.find(name);
      if (found == world.secrets.end())
        return Problem(404, StrCat("secrets \"", name, "\" not found"));
      found->second.merge_patch(Json::parse(request.body));
      if (!world.strip_annotation.empty() && found->second["metadata"].contains("annotations"))
        found->second["metadata"]["annotations"].erase(world.strip_annotation);
      return WebServer::Whole(200, found->second.dump());
    });
  }

  const ScratchDirectory scratch_;
  CertificateSpec spec_;
  std::unique_ptr<Ca> ca_;
  Guarded<FakeKubeWorld> world_;
  std::unique_ptr<WebServer> server_;  // Last: it uses the others.
};

}  // namespace starling::testing
