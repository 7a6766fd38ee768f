#include "tokens/config.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"
#include "base/time_text.h"
#include "crypto/sha256.h"
#include "identity/spiffe_id.h"
#include "tokens/secret.h"
#include "yaml-cpp/yaml.h"

namespace starling {
namespace {

constexpr std::size_t kItemsMax = 1000;  // of every list
constexpr std::size_t kTextMax = 2048;
constexpr std::size_t kDnsNameMax = 253;
constexpr auto kTtlMin = std::chrono::seconds(10);
constexpr auto kTtlMax = std::chrono::hours(24 * 30);

using Setter = std::function<Status(const YAML::Node&)>;

class Reader {
 public:
  explicit Reader(std::string file) : file_(std::move(file)) {}

  [[nodiscard]] Status Bad(const YAML::Mark& mark, std::string_view what) const {
    const std::string at = mark.is_null() ? "" : StrCat(":", mark.line + 1);
    return WithNext(
        WithCode(absl::InvalidArgumentError(StrCat(file_, at, ": ", what)), "bad-tokens-config"),
        "correct the file; docs/identity.md shows one that is whole");
  }
  [[nodiscard]] Status Bad(const YAML::Node& node, std::string_view what) const {
    return Bad(node.Mark(), what);
  }

  // Every key once, none that is unknown, all of `required`.
  [[nodiscard]] Status Map(const YAML::Node& node, const std::map<std::string, Setter>& keys,
                           std::initializer_list<std::string_view> required) const {
    std::string known;
    for (const auto& [key, set] : keys) StrAppend(&known, known.empty() ? "" : ", ", key);
    if (!node.IsMap()) return Bad(node, StrCat("not a map of ", known));
    std::set<std::string> seen;
    for (const auto& item : node) {
      const std::string key = item.first.IsScalar() ? item.first.Scalar() : "";
      const auto found = keys.find(key);
      if (found == keys.end())
        return Bad(item.first, StrCat("no key \"", Printable(key, 60), "\" here, but ", known));
      if (!seen.insert(key).second) return Bad(item.first, StrCat(key, " stands twice"));
      RETURN_IF_ERROR(found->second(item.second));
    }
    for (const std::string_view key : required) {
      if (!seen.contains(std::string(key))) return Bad(node, StrCat(key, " is missing"));
    }
    return absl::OkStatus();
  }
  [[nodiscard]] Status List(const YAML::Node& node, const Setter& add) const {
    if (!node.IsSequence()) return Bad(node, "not a list");
    if (node.size() > kItemsMax) return Bad(node, StrCat("more than ", kItemsMax, " items"));
    for (const auto& item : node) RETURN_IF_ERROR(add(item));
    return absl::OkStatus();
  }
  // A text for which `is_good`; `wanted` says what that is.
  [[nodiscard]] Setter Text(std::string& out, std::function<bool(const std::string&)> is_good,
                            std::string wanted) const {
    return [this, &out, is_good = std::move(is_good),
            wanted = std::move(wanted)](const YAML::Node& node) -> Status {
      if (!node.IsScalar() || node.Scalar().size() > kTextMax || !is_good(node.Scalar())) {
        const std::string given = node.IsScalar() ? node.Scalar() : "";
        return Bad(node, StrCat("\"", Printable(given, 60), "\" is not ", wanted));
      }
      out = node.Scalar();
      return absl::OkStatus();
    };
  }
  [[nodiscard]] Setter Texts(std::vector<std::string>& out,
                             std::function<bool(const std::string&)> is_good,
                             std::string wanted) const {
    return [this, &out, is_good = std::move(is_good),
            wanted = std::move(wanted)](const YAML::Node& node) {
      return List(node, [&](const YAML::Node& item) -> Status {
        std::string text;
        RETURN_IF_ERROR(Text(text, is_good, wanted)(item));
        if (std::ranges::find(out, text) != out.end())
          return Bad(item, StrCat("\"", Printable(text, 60), "\" stands twice"));
        out.push_back(std::move(text));
        return absl::OkStatus();
      });
    };
  }
  [[nodiscard]] Setter Seconds(std::chrono::seconds& out) const {
    return [this, &out](const YAML::Node& node) -> Status {
      std::string text;
      const auto is_good = [&](const std::string& given) {
        const std::optional<Duration> span = ParseSpan(given);
        if (!span || *span < kTtlMin || *span > kTtlMax) return false;
        out = std::chrono::duration_cast<std::chrono::seconds>(*span);
        return out == *span;
      };
      return Text(text, is_good, "a time of whole seconds from 10s to 720h, as in 1h")(node);
    };
  }

 private:
  const std::string file_;
};

bool IsTrustDomain(const std::string& text) {
  const Result<SpiffeId> id = SpiffeId::Parse(StrCat("spiffe://", text));
  return id.ok() && id->path().empty();
}
bool IsPath(const std::string& text) {
  return text.starts_with('/') && SpiffeId::Parse(StrCat("spiffe://a", text)).ok();
}
bool IsSelector(const std::string& text) {
  const std::size_t colon = text.find(':');
  return colon != std::string::npos && colon > 0 && colon + 1 < text.size();
}
bool IsDnsName(const std::string& text) {
  std::string_view name = text;
  if (name.starts_with("*.")) name.remove_prefix(2);
  return name.size() <= kDnsNameMax && IsSecretName(name);  // The same rule, but for the star.
}

Status ReadEntry(const Reader& reader, const YAML::Node& node, TokensConfig& config) {
  SpireEntry entry;
  RETURN_IF_ERROR(reader.Map(
      node,
      {{"path", reader.Text(entry.path, IsPath, "the path of a SPIFFE ID, as in /swarm/sn")},
       {"parent", reader.Text(entry.parent, IsPath, "the path of an agent, as in /swarm/sn-agent")},
       {"dns_names", reader.Texts(entry.dns_names, IsDnsName, "a DNS name")},
       {"selectors", reader.Texts(entry.selectors, IsSelector, "a selector, as in unix:uid:0")},
       {"federates_with",
        reader.Texts(entry.federates_with, IsTrustDomain, "a trust domain, as in example.org")},
       {"x509_svid_ttl", reader.Seconds(entry.x509_svid_ttl)}},
      {"path", "parent", "selectors"}));
  if (entry.selectors.empty()) return reader.Bad(node, "selectors are missing");
  // By these names the server finds it again, whatever of it is changed. A number, since two
  // entries may differ in their selectors alone.
  std::uint64_t number = 0;
  for (const SpireEntry& other : config.entries) {
    if (other.path != entry.path || other.parent != entry.parent) continue;
    ++number;
    std::vector<std::string> mine = entry.selectors, its = other.selectors;
    std::ranges::sort(mine);
    std::ranges::sort(its);
    if (mine == its)
      return reader.Bad(node,
                        "an entry with this path, parent and selectors "
                        "stands twice");
  }
  PartsHash hash;
  hash.Add(entry.path).Add(entry.parent).Add(number);
  entry.id = StrCat("starling-", HexOf(hash.Finish()).substr(0, 32));
  config.entries.push_back(std::move(entry));
  return absl::OkStatus();
}

Status ReadWish(const Reader& reader, const YAML::Node& node, TokensConfig& config) {
  TokenWish wish;
  RETURN_IF_ERROR(reader.Map(
      node,
      {{"agent", reader.Text(wish.agent, IsPath, "the path of an agent, as in /swarm/sn-agent")},
       {"secret", reader.Text(wish.secret, IsSecretName, "the name of a Secret")}},
      {"agent", "secret"}));
  for (const TokenWish& other : config.tokens) {
    if (other.secret == wish.secret)
      return reader.Bad(node, StrCat("the Secret ", wish.secret, " stands twice"));
  }
  config.tokens.push_back(std::move(wish));
  return absl::OkStatus();
}

}  // namespace

Result<TokensConfig> ParseTokensConfig(const std::string& yaml, const std::string& file) {
  const Reader reader(file);
  TokensConfig config;
  if (yaml.size() > kTokensConfigBytesMax)
    return reader.Bad(YAML::Mark::null_mark(), "more than 256 KiB");
  try {
    const Status status = reader.Map(
        YAML::Load(yaml),
        {{"trust_domain",
          reader.Text(config.trust_domain, IsTrustDomain, "a trust domain, as in example.org")},
         {"namespace", reader.Text(config.space, IsNamespaceName, "the name of a namespace")},
         {"token_ttl", reader.Seconds(config.token_ttl)},
         {"entries",
          [&](const YAML::Node& node) {
            return reader.List(
                node, [&](const YAML::Node& item) { return ReadEntry(reader, item, config); });
          }},
         {"tokens",
          [&](const YAML::Node& node) {
            return reader.List(
                node, [&](const YAML::Node& item) { return ReadWish(reader, item, config); });
          }},
         {"federation", reader.Texts(config.federation, IsTrustDomain, "a trust domain")}},
        {});
    if (!status.ok()) return status;
  } catch (const YAML::Exception& error) {
    return reader.Bad(error.mark, Printable(error.msg, 120));
  }
  return config;
}

}  // namespace starling
