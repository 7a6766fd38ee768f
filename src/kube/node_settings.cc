// Environment, arguments and ports of a node's container.
#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "kube/is_in.h"
#include "kube/node.h"

namespace starling::kube {
namespace {

constexpr std::pair<std::string_view, std::string_view> kRenamed[] = {
    {"TRUST_DOMAIN", "STARLING_SPIRE_TRUST_DOMAIN"},
    {"SPIRE_TRUST_DOMAIN", "STARLING_SPIRE_TRUST_DOMAIN"},
    {"LOG_LEVEL", "STARLING_LOG_LEVEL"},
    {"SPIRE_SERVER_ADDRESS", "SPIRE_SERVER_IP"},
    {"SENTINEL_IP", "SENTINEL_NODE_IP"},
    {"SN_IP", "SN_NODE_IP"},
};
// The SPIRE agent's options, which alone may stand behind one dash.
constexpr std::string_view kOneDash[] = {"jointoken",  "genjointoken", "serveraddress",
                                         "serverport", "trustdomain",  "insecurebootstrap",
                                         "loglevel",   "config"};
constexpr std::string_view kProgramDirectories[] = {"DATA_DIR", "MODEL_DIR"};
constexpr std::string_view kModelDirectory = "/platform/swarmml/model";
// Where the image sl-keras has the client.
constexpr std::string_view kClientInImage = "/usr/share/starling/python";
constexpr std::string_view kTheirPythonPath = "PROGRAM_PYTHONPATH";
constexpr std::string_view kProgramDefaults[] = {"HOME", "PYTHONUNBUFFERED"};  // ProgramContainer()
constexpr int kApiPort = 30304;
constexpr int kBlobPort = 30305;

int PortNumber(std::string_view text, int fallback) {
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool good = error == std::errc() && end == text.data() + text.size();
  return good && port > 0 && port < 65536 ? port : fallback;
}

// The item with its value as text: a number without quotes is none to the API server.
OrderedJson VariableJson(const Node& item, std::string_view name) {
  OrderedJson out = {{"name", std::string(name)}};
  for (const Member& member : item.members) {
    if (member.key == "name") continue;
    if (member.value.kind == Node::Kind::kScalar) {
      out[member.key] = member.value.text;
    } else {
      out[member.key] = ToJson(member.value);
    }
  }
  return out;
}

std::string LiteralOf(const OrderedJson& env, std::string_view name) {
  for (const OrderedJson& item : env) {
    if (item["name"] == name && item.contains("value") && item["value"].is_string())
      return item["value"].get<std::string>();
  }
  return "";
}

std::vector<std::string> Words(std::string_view text) {
  std::vector<std::string> out;
  std::string word;
  for (const char c : text) {
    if (c != ' ' && c != '\t' && c != '\n') {
      word.push_back(c);
    } else if (!word.empty()) {
      out.push_back(std::exchange(word, ""));
    }
  }
  if (!word.empty()) out.push_back(word);
  return out;
}

// "run <program> …" starts Python with a program below the model directory, as starling sl does.
std::vector<std::string> ProgramCommand(std::string_view command, std::string directory) {
  std::vector<std::string> words = Words(command);
  if (words.empty() || words[0] != "run") return words;
  words[0] = "python3";
  if (words.size() > 1 && !words[1].starts_with('/')) {
    if (directory.empty()) directory = kModelDirectory;
    words[1] = StrCat(directory, "/", words[1]);
  }
  return words;
}

bool Has(const OrderedJson& env, std::string_view variable) {
  return std::any_of(env.begin(), env.end(),
                     [&](const OrderedJson& item) { return item["name"] == variable; });
}

// The client's folder before the user's own, or the program would not find the client.
void JoinPythonPath(const Node& item, NodeDraft* node) {
  OrderedJson& env = node->sidecar ? node->program_env : node->env;
  std::string theirs = item.Text("value");
  if (item.Find("valueFrom") != nullptr) {
    // Not known here: under a name of its own, which Kubernetes puts into the next.
    env.push_back(VariableJson(item, kTheirPythonPath));
    theirs = StrCat("$(", kTheirPythonPath, ")");
  }
  const std::string_view ours = node->sidecar ? kClientFolder : kClientInImage;
  env.push_back({{"name", std::string(kPythonPath)},
                 {"value", StrCat(ours, theirs.empty() ? "" : ":", theirs)}});
}

void ReadVariable(const Draft& draft, Node& item, NodeDraft* node) {
  const std::string name = item.Text("name");
  const auto keep = [&](Rule rule, std::string_view as, std::string_view detail) {
    const bool program = node->sidecar && IsIn(kProgramDirectories, name);
    (program ? node->program_env : node->env).push_back(VariableJson(item, as));
    Mark(item, rule, as == name ? "" : as, detail);
  };
  if (name == "SPIRE_JOIN_TOKEN" && !node->legacy_token)
    return Mark(item, Rule::kEnvToken, "STARLING_JOIN_TOKEN_FILE");
  if (name == "SPIRE_JOIN_TOKEN") return keep(Rule::kEnvTokenKept, name, "");
  const auto* const renamed = std::find_if(std::begin(kRenamed), std::end(kRenamed),
                                           [&](const auto& pair) { return pair.first == name; });
  if (renamed != std::end(kRenamed) && draft.settings.variable(node->learning, renamed->second))
    return keep(Rule::kEnvRenamed, renamed->second, "");
  const auto setting = draft.settings.variable(node->learning, name);
  if (setting && node->sidecar && setting->name == "ml-cmd")
    return Mark(item, Rule::kProgramCommand, StrCat("command of ", node->container_name));
  if (setting && setting->effect)
    return keep(Rule::kEnvSetting, name, StrCat("the setting ", setting->name));
  if (setting) return keep(Rule::kEnvAccepted, name, setting->meaning);
  if (!node->learning) return Mark(item, Rule::kEnvUnknown);
  if (name == kPythonPath) {
    JoinPythonPath(item, node);
    return Mark(item, Rule::kEnvPath);
  }
  const bool instead = node->sidecar && IsIn(kProgramDefaults, name);
  (node->sidecar ? node->program_env : node->env).push_back(VariableJson(item, name));
  Mark(item, Rule::kEnvProgram, "", instead ? "the overlay's own is left out" : "");
}

struct Option {
  std::optional<KnownSetting> setting;
  bool has_value = false;  // behind an equals sign
};

Option OptionOf(const Draft& draft, const std::string& word, bool learning) {
  Option out;
  const std::size_t equals = word.find('=');
  out.has_value = equals != std::string::npos;
  const std::string name = LowerCase(std::string_view(word).substr(0, equals));
  if (name.starts_with("--")) {
    out.setting = draft.settings.option(learning, std::string_view(name).substr(2));
  } else if (IsIn(kOneDash, std::string_view(name).substr(1))) {
    const std::string_view agents = std::string_view(name).substr(1);
    out.setting =
        draft.settings.option(learning, agents == "config" ? "spire-agent-config" : agents);
    // Refused by starling, but with a place in the import's rules.
    if (!out.setting && agents == "config") out.setting = KnownSetting{"spire-agent-config", ""};
    if (!out.setting && agents == "genjointoken")
      out.setting = KnownSetting{"gen-join-token", "", true, true};
  }
  return out;
}

Rule ArgumentRule(const Option& option, bool legacy_token) {
  if (!option.setting) return Rule::kArgumentUnknown;
  const std::string& name = option.setting->name;
  if (name == "gen-join-token" || name == "spire-agent-config") return Rule::kArgumentToken;
  if (name == "join-token" || name == "insecure-bootstrap")
    return legacy_token ? Rule::kArgumentTokenKept : Rule::kArgumentToken;
  return Rule::kArgument;
}

}  // namespace

bool NodeDraft::HasVariable(std::string_view variable) const { return Has(env, variable); }

bool NodeDraft::ProgramHasVariable(std::string_view variable) const {
  return Has(program_env, variable);
}

void ReadEnvironment(const Draft& draft, Node& env, NodeDraft* node) {
  std::string command;
  for (Member& member : env.members) {
    if (member.value.Text("name") == "MLCMD") command = member.value.Text("value");
    ReadVariable(draft, member.value, node);
  }
  if (node->sidecar)
    node->program_command = ProgramCommand(command, LiteralOf(node->program_env, "MODEL_DIR"));
}

void ReadArguments(const Draft& draft, Node& args, NodeDraft* node) {
  std::vector<Member>& words = args.members;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i].value.text;
    const bool is_option = word.size() > 1 && word[0] == '-';
    const Option option = is_option ? OptionOf(draft, word, node->learning) : Option();
    const Rule rule = ArgumentRule(option, node->legacy_token);
    const std::string detail =
        option.setting ? StrCat("the setting ", option.setting->name) : std::string();
    bool value_follows = is_option && !option.has_value && i + 1 < words.size();
    if (value_follows) {
      const std::string next = LowerCase(words[i + 1].value.text);
      const bool toggle = option.setting && option.setting->toggle;
      value_follows = toggle ? next == "true" || next == "false" : !next.starts_with('-');
    }
    const std::size_t end = i + (value_follows ? 2 : 1);
    for (; i < end; ++i) {
      Mark(words[i].value, rule, "", detail);
      const bool keep = rule == Rule::kArgument || rule == Rule::kArgumentTokenKept;
      if (keep) node->arguments.push_back(words[i].value.text);
    }
    --i;
  }
}

int NodePort(const NodeDraft& node) {
  if (node.learning)
    return PortNumber(LiteralOf(node.env, "SL_FS_PORT"),
                      PortNumber(LiteralOf(node.env, "ML_FS_PORT"), kBlobPort));
  return PortNumber(LiteralOf(node.env, "SN_API_SERVER_PORT"),
                    PortNumber(LiteralOf(node.env, "API_SERVER_PORT"), kApiPort));
}

void ReadPorts(Node& ports, NodeDraft* node) {
  for (Member& member : ports.members) {
    Node& port = member.value;
    for (const char* const host : {"hostPort", "hostIP"}) {
      if (Node* const field = port.Find(host)) Mark(*field, Rule::kHostPort);
    }
    const std::string name = LowerCase(port.Text("name"));
    const bool ours = PortNumber(port.Text("containerPort"), 0) == node->port ||
                      name.find(node->learning ? "fs" : "api") != std::string::npos;
    if (!ours) {
      Mark(port, Rule::kPortUnneeded);
    } else {
      const bool usual = node->port == (node->learning ? kBlobPort : kApiPort);
      Mark(port, node->learning ? Rule::kPortBlobs : Rule::kPortApi, node->PortName(),
           usual ? ""
                 : StrCat("base/policy lets other ports than this through: allow ", node->port));
    }
  }
}

}  // namespace starling::kube
