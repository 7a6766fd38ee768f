#include "command_line.h"

#include <algorithm>
#include <cctype>
#include <memory>
#include <utility>

#include "CLI/CLI.hpp"
#include "base/bytes.h"
#include "base/text.h"

namespace starling {
namespace {

using Command = CommandLine::Command;

// The SPIRE agent's arguments as HPE passes them, behind one dash. Its -config is another file than
// our --config.
constexpr std::pair<std::string_view, std::string_view> kOneDash[] = {
    {"jointoken", "--join-token"},
    {"genjointoken", "--gen-join-token"},
    {"serveraddress", "--server-address"},
    {"serverport", "--server-port"},
    {"trustdomain", "--spire-trust-domain"},
    {"insecurebootstrap", "--insecure-bootstrap"},
    {"loglevel", "--log-level"},
    {"config", "--spire-agent-config"},
};

std::string Lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// "-joinToken=x" as "--join-token=x"; everything else as it is.
std::string Normalised(const std::string& argument) {
  if (argument.size() < 3 || argument[0] != '-' || argument[1] == '-') return argument;
  const std::size_t equals = std::min(argument.find('='), argument.size());
  const std::string name = Lower(std::string_view(argument).substr(1, equals - 1));
  for (const auto& [theirs, ours] : kOneDash) {
    if (name == theirs) return StrCat(ours, std::string_view(argument).substr(equals));
  }
  return argument;
}

// Go's flags take "-insecureBootstrap true" as well as "-insecureBootstrap".
std::vector<std::string> NormalisedAll(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    out.push_back(Normalised(arguments[i]));
    const bool toggle = out.back() == "--insecure-bootstrap" || out.back() == "--gen-join-token";
    if (!toggle || i + 1 == arguments.size()) continue;
    const std::string value = Lower(arguments[i + 1]);
    if (value == "true" || value == "false") {
      StrAppend(&out.back(), "=", value);
      ++i;
    }
  }
  return out;
}

class Parser {
 public:
  Parser()
      : app_(
            "Starling: swarm learning. Several sites train one model together; their data never "
            "leaves them.",
            "starling") {
    app_.require_subcommand(0, 1);
    app_.set_version_flag("--version", StrCat("starling ", STARLING_VERSION));
    AddNodes();
    AddTraining();
    AddLooks();
    AddSwarms();
    AddRest();
    AddKube();
  }

  Result<CommandLine> Parse(const std::vector<std::string>& arguments) {
    const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
    if (dashes != arguments.end()) out_.program.assign(dashes + 1, arguments.end());
    std::vector<std::string> words = NormalisedAll({arguments.begin(), dashes});
    std::reverse(words.begin(), words.end());  // CLI11 takes them from the back.
    try {
      app_.parse(words);
    } catch (const CLI::CallForVersion&) {
      out_.command = Command::kVersion;
      return out_;
    } catch (const CLI::CallForHelp&) {
      return Help();
    } catch (const CLI::CallForAllHelp&) {
      return Help();
    } catch (const CLI::ParseError& error) {
      std::string what = error.what();
      std::replace(what.begin(), what.end(), '\n', ' ');
      return WithNext(WithCode(absl::InvalidArgumentError(Printable(what, 300)), "usage"),
                      StrCat(Name(), " --help"));
    }
    if (app_.get_subcommands().empty()) return Help();
    return Finish();
  }

 private:
  CLI::App* Add(CLI::App& parent, const std::string& name, const std::string& help,
                Command command) {
    CLI::App* const sub = parent.add_subcommand(name, help);
    sub->callback([this, command] { out_.command = command; });
    return sub;
  }

  // One option for each row of the table that is for `role`.
  void AddSettings(CLI::App& app, Role role) {
    for (const Setting& setting : SettingsTable()) {
      if ((setting.roles & static_cast<unsigned>(role)) == 0) continue;
      std::string names = StrCat("--", setting.name);
      for (const std::string_view flag : setting.flags) {
        if (!flag.empty()) StrAppend(&names, ",--", flag);
      }
      Given& given = *given_.emplace_back(std::make_unique<Given>());
      given.name = setting.name;
      const std::string help(setting.meaning);
      given.option = setting.toggle ? app.add_flag(names, given.value, help)
                                    : app.add_option(names, given.value, help);
      given.option->ignore_case();
      if (setting.treatment == Treatment::kAccepted)
        given.option->group("Accepted, without effect");
      if (setting.treatment == Treatment::kLater || setting.name == "ready-file")
        given.option->group("");
    }
  }

  void AddNodes();
  void AddTraining();
  void AddLooks();
  void AddSwarms();
  void AddRest();
  void AddKube();
  [[nodiscard]] std::string Name() const;
  Result<CommandLine> Help();
  Result<CommandLine> Finish();

  struct Given {
    std::string name;
    std::string value;
    CLI::Option* option = nullptr;
  };
  CLI::App app_;
  CommandLine out_;
  std::vector<std::unique_ptr<Given>> given_;
};

void Parser::AddNodes() {
  AddSettings(*Add(app_, "sn", "a network node: keeps the ledger, serves the API", Command::kSn),
              Role::kSn);
  CLI::App* const sl = Add(
      app_, "sl", "a learning node beside one training program: starling sl … -- python train.py",
      Command::kSl);
  AddSettings(*sl, Role::kSl);
  CLI::App* const swci = Add(app_, "swci", "the operator's session, as HPE's", Command::kSwci);
  AddSettings(*swci, Role::kSwci);
  swci->add_option("--cmd", out_.swci_commands,
                   "a command to run instead of reading them; repeatable")
      ->ignore_case();
}

void Parser::AddTraining() {
  using Action = TrainingRequest::Action;
  CLI::App* const training =
      app_.add_subcommand("training", "trainings: list, show, create, set, reset, revoke");
  training->require_subcommand(1);
  const auto add = [&](const std::string& name, const std::string& help, Action action) {
    CLI::App* const sub = training->add_subcommand(name, help);
    sub->callback([this, action] {
      out_.command = Command::kTraining;
      out_.training.action = action;
    });
    AddSettings(*sub, Role::kOperator);
    sub->add_flag("--json", out_.json, "print JSON");
    if (action != Action::kList)
      sub->add_option("TRAINING", out_.training.name, "its name")->required();
    return sub;
  };
  add("list", "all trainings", Action::kList);
  add("show", "one training: rules, nodes, state", Action::kShow);
  CLI::App* const create =
      add("create", "creates one; what is left out is filled by the first node that enrols",
          Action::kCreate);
  TrainingRules& rules = out_.training.rules;
  create->add_option("--min-peers", rules.min_peers,
                     "a round never closes with fewer participants");
  create->add_option("--merge", rules.merge, "mean");
  create->add_option("--sync-interval", rules.sync_interval, "batches between merges");
  create->add_option("--witnesses", rules.witnesses, "equal roots that seal a round");
  create->add_option("--audit", rules.audit, "chunks that each node recomputes");
  create->add_option("--weight-max", rules.weight_max, "the largest weight of a node");
  create->add_option("--initial", rules.initial,
                     "leader, merge, or the root of a model to start from");
  create->add_option("--member", rules.members,
                     "name=key of a node that may enrol; repeatable; without: every node");
  create->add_option("--admin", rules.admins,
                     "SPIFFE ID or key of who may change it; repeatable; without: every operator");
  add("set", "changes the quorum of a running training", Action::kSet)
      ->add_option("--min-peers", out_.training.min_peers, "the new quorum");
  add("reset", "starts it again with the same rules and no nodes", Action::kReset);
  add("revoke", "ends a node's right to take part", Action::kRevoke)
      ->add_option("NODE", out_.training.node, "its name")
      ->required();
}

void Parser::AddLooks() {
  CLI::App* const status = Add(
      app_, "status", "who waits for whom, since when, and what happens next", Command::kStatus);
  AddSettings(*status, Role::kOperator);
  status->add_flag("--watch", out_.status.watch, "go on until interrupted");
  status->add_flag("--json", out_.json, "print JSON");

  CLI::App* const explain =
      Add(app_, "explain", "each round in words, from the SN or from files", Command::kExplain);
  AddSettings(*explain, Role::kOperator);
  explain->add_option("WHAT", out_.explain_what,
                      "a training, or the directory of a run, or a ledger.db");
  explain->add_option("--training", out_.explain.contract,
                      "the training, where a directory holds several");
  explain->add_option("--round", out_.explain.round, "only this round");
  explain->add_flag("--json", out_.json, "print JSON");

  CLI::App* const verify = Add(
      app_, "verify", "checks every signature and repeats every merge, offline", Command::kVerify);
  verify->add_option("PATH", out_.verify.paths, "directories of runs or nodes, or a ledger.db")
      ->required();
  verify->add_flag("--json", out_.json, "print JSON");
}

void Parser::AddSwarms() {
  CLI::App* const demo =
      Add(app_, "demo", "a whole swarm on this machine, with a real data set", Command::kDemo);
  demo->add_option("-n,--nodes", out_.demo.nodes, "learning nodes");
  demo->add_option("--dir", out_.demo.directory,
                   "where the files go; default: starling-demo-<time>");
  demo->add_option("--data-dir", out_.demo.data_dir, "where the data set is; default: $DATA_DIR");
  demo->add_flag("!--no-kill", out_.demo.kill_leader,
                 "leaves the leader alone, which is killed once otherwise");

  RunOptions& run_options = out_.run;
  CLI::App* const run =
      Add(app_, "run",
          "peers of your own program on this machine: starling run -n 2 -- python train.py",
          Command::kRun);
  run->add_option("-n,--nodes", run_options.nodes, "learning nodes");
  run->add_option("--dir", run_options.directory,
                  "where the files go; default: starling-run-<time>");
  run->add_option("--min-peers", run_options.min_peers, "quorum; default: all but one");
  run->add_option("--contract,--training", run_options.contract, "name of the training");
  run->add_flag("--keep-updates", run_options.keep_updates,
                "keep every update, so that verify can repeat the merges");
  run->add_flag("--kill-leader", run_options.kill_leader,
                "kill the leader of a round in its merge, once, and start it again");
  run->add_flag("-q,--quiet", run_options.quiet, "print the summary only");
  run->add_option("--names", run_options.node_names, "names of the nodes, with commas")
      ->delimiter(',');
  run->add_option_function<std::vector<std::string>>(
         "-e,--env",
         [&run_options](const std::vector<std::string>& variables) {
           for (const std::string& variable : variables) {
             const std::size_t equals = variable.find('=');
             if (equals == std::string::npos || equals == 0)
               throw CLI::ValidationError("--env", "NAME=value, not " + variable);
             run_options.environment.emplace_back(variable.substr(0, equals),
                                                  variable.substr(equals + 1));
           }
         },
         "NAME=value for the programs; repeatable")
      ->allow_extra_args(false);
}

void Parser::AddRest() {
  Add(app_, "env", "every setting: flags, environment variables, defaults", Command::kEnv)
      ->add_flag("--json", out_.json, "print JSON");
  Add(app_, "version", "the version", Command::kVersion);
  CLI::App* const client = app_.add_subcommand("client", "the Python client: install");
  client->require_subcommand(1);
  CLI::App* const install =
      Add(*client, "install", "copies the Python packages into a folder, for its PYTHONPATH",
          Command::kClientInstall);
  install->add_option("DIR", out_.client_install.directory, "where they go")->required();
  install->add_option("--from", out_.client_install.from, "where they are")->capture_default_str();
  CLI::App* const identity = app_.add_subcommand("identity", "identities of nodes: show, dev-ca");
  identity->require_subcommand(1);
  CLI::App* const show = identity->add_subcommand(
      "show", "what a node shows to others now, whom it believes, and whom it lets in");
  show->require_subcommand(1);
  for (const auto& [name, role] :
       {std::pair("sn", Role::kSn), std::pair("sl", Role::kSl), std::pair("swci", Role::kSwci),
        std::pair("operator", Role::kOperator)}) {
    CLI::App* const as = show->add_subcommand(name, StrCat("with the settings of ", name));
    as->callback([this, role = role] {
      out_.command = Command::kIdentityShow;
      out_.show_as = role;
    });
    AddSettings(*as, role);
    as->add_flag("--json", out_.json, "print JSON");
  }
  AddSettings(*Add(app_, "spire-tokens",
                   "beside a SPIRE server on Kubernetes: entries, and join tokens in Secrets",
                   Command::kSpireTokens),
              Role::kSpireTokens);
  CLI::App* const dev_ca =
      Add(*identity, "dev-ca", "a certificate authority for one machine", Command::kDevCa);
  DevCaRequest& request = out_.dev_ca;
  dev_ca->add_option("DIR", request.directory, "where its files are, or go")->required();
  dev_ca->add_option("--trust-domain", request.trust_domain, "its trust domain");
  dev_ca->add_option("--issue", request.issue,
                     "path:stem of a certificate to issue, as /swarm/sl:node1; repeatable");
  dev_ca->add_option("--dns", request.dns, "host name in the certificates; repeatable");
  dev_ca->add_option("--ip", request.ips, "address in the certificates; repeatable");
  dev_ca->add_option("--days", request.days, "how long the certificates are valid")
      ->check(CLI::Range(1, 3650));
}

void Parser::AddKube() {
  CLI::App* const kube =
      app_.add_subcommand("kube", "Kubernetes: import manifests of HPE Swarm Learning");
  kube->require_subcommand(1);
  CLI::App* const import = Add(*kube, "import",
                               "turns HPE-style manifests into an overlay of ours, and says of "
                               "every field what became of it",
                               Command::kKubeImport);
  KubeImportRequest& request = out_.kube_import;
  import->add_option("FILE", request.files, "manifests, YAML")->required();
  import->add_option("-o,--output", request.folder, "folder of the overlay")->required();
  import->add_option("--base", request.options.base, "our base, as seen from that folder")
      ->capture_default_str();
  import->add_flag("--legacy-token", request.options.legacy_token,
                   "keep the init container that fetches a join token, and its rights");
  import->add_flag("--force", request.force, "write into a folder that no import made");
  import->add_flag("--json", out_.json, "print JSON");
}

std::string Parser::Name() const {
  std::string name = "starling";
  for (const CLI::App* app = &app_; !app->get_subcommands().empty();) {
    app = app->get_subcommands().front();
    StrAppend(&name, " ", app->get_name());
  }
  return name;
}

Result<CommandLine> Parser::Help() {
  // The library writes the app's own name behind the one that it is given.
  const CLI::App* app = &app_;
  std::string before;
  while (!app->get_subcommands().empty()) {
    StrAppend(&before, before.empty() ? "" : " ", app->get_name());
    app = app->get_subcommands().front();
  }
  CommandLine out;
  out.help = app->help(before);
  return out;
}

Result<CommandLine> Parser::Finish() {
  for (const std::unique_ptr<Given>& given : given_) {
    if (given->option->count() > 0) out_.flags[given->name] = given->value;
  }
  const bool takes_program = out_.command == Command::kSl || out_.command == Command::kRun;
  if (!out_.program.empty() && !takes_program) {
    return WithNext(
        WithCode(absl::InvalidArgumentError("only run and sl take a program after --"), "usage"),
        StrCat(Name(), " --help"));
  }
  out_.training.json = out_.status.json = out_.explain.json = out_.verify.json = out_.json;
  out_.run.program = out_.program;
  out_.kube_import.json = out_.json;
  return out_;
}

}  // namespace

Result<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments) {
  return Parser().Parse(arguments);
}

}  // namespace starling
