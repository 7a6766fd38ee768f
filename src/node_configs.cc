#include "node_configs.h"

#include <algorithm>
#include <cctype>

#include "base/bytes.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::uint16_t kProxyPort = 443;
constexpr std::string_view kHpeModelDir = "/platform/swarmml/model";

Status Usage(const std::string& message, std::string_view code, std::string_view next) {
  return WithNext(WithCode(absl::InvalidArgumentError(message), code), next);
}

// The address others use: behind a proxy its name and port, else this node's own.
template <typename Config>
Status SetAdvertised(const Settings& settings, std::string_view service, Config& config) {
  config.advertise_host = settings.Text("host-ip");
  if (!settings.Given(service)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Endpoint endpoint, ParseHostPort(settings.Text(service), kProxyPort));
  config.advertise_host = endpoint.host;
  config.advertise_port = endpoint.port;
  return absl::OkStatus();
}

Result<bool> IsSentinel(const Settings& settings, bool& hpe03) {
  ASSIGN_OR_RETURN(const bool said, settings.Bool("sentinel"));
  if (settings.Given("sentinel")) return said;
  const std::vector<std::string> sentinels = settings.List("sentinel-ip");
  ASSIGN_OR_RETURN(const std::uint16_t port, settings.Port("sn-api-port"));
  ASSIGN_OR_RETURN(const std::uint16_t sentinels_port, settings.Port("sentinel-api-port"));
  // Two SNs of one host have two ports.
  const bool is_other_port = settings.Given("sentinel-api-port") && sentinels_port != port;
  if (!sentinels.empty() && sentinels[0] == settings.Text("host-ip") && !is_other_port) {
    hpe03 = true;  // 2.x says --sentinel; only 0.3 tells a sentinel by its address.
    return true;
  }
  return sentinels.empty() && !settings.Given("sentinel-api-service");
}

// Where a following SN finds its sentinel.
Status SetSentinel(const Settings& settings, NetworkNodeConfig& config) {
  if (config.sentinel) return absl::OkStatus();
  // The fallback is a sentinel's name; a following SN gets one of its key.
  if (!settings.Given("name")) config.name.clear();
  ASSIGN_OR_RETURN(const std::uint16_t port, settings.Port("sentinel-api-port"));
  const bool proxied = settings.Given("sentinel-api-service");
  for (const std::string& item : settings.List(proxied ? "sentinel-api-service" : "sentinel-ip")) {
    ASSIGN_OR_RETURN(const Endpoint sentinel, ParseHostPort(item, proxied ? kProxyPort : port));
    config.sentinel_urls.push_back(sentinel.Url());
  }
  if (!config.sentinel_urls.empty()) return absl::OkStatus();
  return Usage("this SN is not the sentinel, and no sentinel is named", "no-sentinel",
               "give --sentinel-ip and --sentinel-api-port, or --sentinel to create a ledger");
}

std::string DirectoryOf(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status SetTimes(const Settings& settings, LearningNodeConfig& config) {
  ASSIGN_OR_RETURN(config.linger, settings.Span("linger"));
  ASSIGN_OR_RETURN(config.stall_timeout, settings.Span("stall-timeout"));
  ASSIGN_OR_RETURN(config.program_grace, settings.Span("program-grace"));
  ASSIGN_OR_RETURN(config.identity_wait, settings.Span("identity-wait"));
  return absl::OkStatus();
}

Status SetProgram(const Settings& settings, const std::vector<std::string>& program,
                  const Host& host, LearningNodeConfig& config) {
  config.program = program;
  if (!program.empty()) return absl::OkStatus();
  std::string model_dir = settings.Text("model-dir");
  if (model_dir.empty())
    model_dir =
        host.is_directory && host.is_directory(std::string(kHpeModelDir)) ? kHpeModelDir : ".";
  std::string command = settings.Text("ml-cmd");
  if (command.empty() && settings.Given("model-program"))
    command = StrCat("run ", settings.Text("model-program"));
  if (command.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(config.program, ProgramFrom(command, model_dir, host.python));
  return absl::OkStatus();
}

}  // namespace

Result<Log> LogFrom(const Settings& settings, std::string_view name) {
  std::string level = settings.Text("log-level");
  std::transform(level.begin(), level.end(), level.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  ASSIGN_OR_RETURN(const bool json, settings.Bool("log-json"));
  const LogFormat format = json ? LogFormat::kJson : LogFormat::kText;
  if (level == "DEBUG") return Log::ToStderr(name, LogLevel::kDebug, format);
  if (level == "INFO") return Log::ToStderr(name, LogLevel::kInfo, format);
  if (level == "WARNING" || level == "WARN") return Log::ToStderr(name, LogLevel::kWarning, format);
  if (level == "ERROR" || level == "CRITICAL" || level == "FATAL")
    return Log::ToStderr(name, LogLevel::kError, format);
  return Usage(StrCat("no log level \"", Printable(level, 40), "\""), "bad-setting",
               "use DEBUG, INFO, WARNING or ERROR");
}

Result<Endpoint> ParseHostPort(std::string_view text, std::uint16_t default_port) {
  if (text.find("://") != std::string_view::npos) return Endpoint::Parse(text);
  const bool bracketed = text.starts_with('[');
  const std::size_t bracket = text.find(']');
  const std::size_t colon = text.rfind(':');
  const bool has_port =
      colon != std::string_view::npos &&
      (bracketed ? bracket != std::string_view::npos && colon > bracket : text.find(':') == colon);
  // A bare IPv6 address has colons of its own.
  const bool bare_v6 = !bracketed && colon != std::string_view::npos && !has_port;
  std::string url = StrCat("https://", bare_v6 ? "[" : "", text, bare_v6 ? "]" : "");
  if (!has_port) StrAppend(&url, ":", default_port);
  Result<Endpoint> endpoint = Endpoint::Parse(url);
  if (endpoint.ok()) return endpoint;
  return Usage(StrCat("not an address: \"", Printable(text, 100), "\""), "bad-setting",
               "give a name or address, with :port where it has one");
}

Result<std::vector<Endpoint>> SnEndpointsFrom(const Settings& settings) {
  ASSIGN_OR_RETURN(const std::uint16_t port, settings.Port("sn-api-port"));
  std::vector<Endpoint> out;
  const auto add = [&](std::string_view name, std::uint16_t default_port) -> Status {
    for (const std::string& item : settings.List(name)) {
      ASSIGN_OR_RETURN(Endpoint endpoint, ParseHostPort(item, default_port));
      out.push_back(std::move(endpoint));
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(add("sn", port));
  if (out.empty()) RETURN_IF_ERROR(add("sn-api-service", kProxyPort));
  if (out.empty()) RETURN_IF_ERROR(add("sn-ip", port));
  if (out.empty())
    return Usage("no network node given", "no-sn",
                 "give --sn https://host:30304, or --sn-ip and --sn-api-port");
  return out;
}

Result<NetworkNodeConfig> SnConfigFrom(const Settings& settings) {
  NetworkNodeConfig config;
  config.name = settings.Text("name");
  config.state_dir = settings.Text("state-dir");
  config.listen_address = settings.Text("listen-address");
  config.hpe03_log_form = settings.hpe03();
  RETURN_IF_ERROR(Annotate(CheckName(config.name), "--name"));
  RETURN_IF_ERROR(SetAdvertised(settings, "sn-api-service", config));
  ASSIGN_OR_RETURN(config.api_port, settings.Port("sn-api-port"));
  ASSIGN_OR_RETURN(config.health_port, settings.Port("health-port"));
  ASSIGN_OR_RETURN(config.sentinel, IsSentinel(settings, config.hpe03_log_form));
  RETURN_IF_ERROR(SetSentinel(settings, config));
  ASSIGN_OR_RETURN(config.auto_create, settings.Bool("auto-create"));
  ASSIGN_OR_RETURN(config.decider.quorum_grace, settings.Span("quorum-grace"));
  config.decider.adapt = !settings.Given("quorum-grace");
  ASSIGN_OR_RETURN(config.decider.stall_timeout, settings.Span("stall-timeout"));
  ASSIGN_OR_RETURN(config.allow_loopback, settings.Bool("allow-loopback"));
  config.sl_paths = settings.List("sl-paths");
  config.sn_paths = settings.List("sn-paths");
  config.operator_paths = settings.List("operator-paths");
  config.trust_domains = settings.List("trust-domains");
  ASSIGN_OR_RETURN(config.identity_wait, settings.Span("identity-wait"));
  return config;
}

Result<LearningNodeConfig> SlConfigFrom(const Settings& settings,
                                        const std::vector<std::string>& program, const Host& host) {
  LearningNodeConfig config;
  config.name = settings.Given("name") ? settings.Text("name") : host.name;
  config.contract = settings.Text("contract");
  config.state_dir = settings.Text("state-dir");
  config.listen_address = settings.Text("listen-address");
  RETURN_IF_ERROR(Annotate(CheckName(config.name), "--name"));
  RETURN_IF_ERROR(Annotate(CheckName(config.contract), "--contract"));
  ASSIGN_OR_RETURN(const std::vector<Endpoint> sns, SnEndpointsFrom(settings));
  for (const Endpoint& sn : sns) config.sn_urls.push_back(sn.Url());
  RETURN_IF_ERROR(SetAdvertised(settings, "sl-fs-service", config));
  ASSIGN_OR_RETURN(config.blob_port, settings.Port("sl-fs-port"));
  ASSIGN_OR_RETURN(config.health_port, settings.Port("health-port"));
  config.socket_path = settings.Text("socket");
  if (config.socket_path.empty() && settings.Given("request-channel")) {
    config.socket_path = StrCat(DirectoryOf(settings.Text("request-channel")), "/starling.sock");
  }
  config.arena_dir = settings.Text("arena-dir");
  config.initial_file = settings.Text("initial");
  ASSIGN_OR_RETURN(config.may_lead, settings.Bool("may-lead"));
  ASSIGN_OR_RETURN(config.stay, settings.Bool("stay"));
  ASSIGN_OR_RETURN(config.keep_updates, settings.Bool("keep-updates"));
  ASSIGN_OR_RETURN(config.keep_models, settings.Number("keep-models", 1'000'000));
  ASSIGN_OR_RETURN(config.allow_loopback, settings.Bool("allow-loopback"));
  RETURN_IF_ERROR(SetTimes(settings, config));
  RETURN_IF_ERROR(SetProgram(settings, program, host, config));
  config.sl_paths = settings.List("sl-paths");
  config.sn_paths = settings.List("sn-paths");
  config.operator_paths = settings.List("operator-paths");
  config.trust_domains = settings.List("trust-domains");
  return config;
}

Result<std::vector<std::string>> SplitWords(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = '\0';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool escapes = c == '\\' && quote != '\'';
    if (escapes) {
      if (++i == text.size()) return absl::InvalidArgumentError("a command ends in a backslash");
      word.push_back(text[i]);
      in_word = true;
    } else if (quote != '\0') {
      if (c == quote)
        quote = '\0';
      else
        word.push_back(c);
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (std::isspace(static_cast<unsigned char>(c)) != 0) {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else {
      word.push_back(c);
      in_word = true;
    }
  }
  if (quote != '\0') return absl::InvalidArgumentError("a quote in a command is not closed");
  if (in_word) words.push_back(std::move(word));
  return words;
}

Result<std::vector<std::string>> ProgramFrom(const std::string& ml_cmd,
                                             const std::string& model_dir,
                                             const std::string& python) {
  ASSIGN_OR_RETURN(std::vector<std::string> words, SplitWords(ml_cmd));
  if (words.empty())
    return Usage("the program's command is empty", "bad-setting",
                 "give MLCMD as \"run <program>\"");
  if (words[0] != "run") return words;
  if (words.size() < 2)
    return Usage("\"run\" names no program", "bad-setting", "give MLCMD as \"run <program>\"");
  words.erase(words.begin());
  if (!words[0].starts_with('/')) words[0] = StrCat(model_dir, "/", words[0]);
  words.insert(words.begin(), python);
  return words;
}

}  // namespace starling
