#include "tools/swarm.h"

#include <csignal>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/fs.h"
#include "base/mailbox.h"
#include "base/text.h"
#include "crypto/ed25519.h"
#include "crypto/json.h"
#include "identity/dev_authority.h"
#include "identity/pem_source.h"
#include "tools/leader_kill.h"
#include "tools/source.h"

namespace starling {
namespace {

namespace stdfs = std::filesystem;
constexpr std::string_view kTrustDomain = "swarm.local";
constexpr std::size_t kSaidMax = 500;  // bytes of a log line in an error
constexpr Duration kReadyWithin = 30s;
constexpr Duration kStopWithin = 5s;
constexpr Duration kLookEvery = 200ms;  // without news
constexpr auto kCertificateLife = std::chrono::hours(24 * 30);

Result<PemFiles> IssueFor(const DevAuthority& authority, const std::string& path,
                          const std::string& directory, const std::string& stem, UtcTime now) {
  DevAuthority::Request request;
  request.path = path;
  request.not_before = now - std::chrono::minutes(5);
  request.not_after = now + kCertificateLife;
  return authority.IssueFiles(request, directory, stem);
}

void AppendIdentity(const PemFiles& files, std::vector<std::string>& argv) {
  argv.insert(argv.end(), {"--cert", files.cert, "--key", files.key, "--cacert", files.cacert});
}

}  // namespace

struct Swarm::Impl {
  Impl(RunOptions o, const ToolContext& c) : options(std::move(o)), context(c) {}

  Status Prepare();
  Status StartSn();
  Status CreateTraining();
  Status StartNode(std::size_t index);
  [[nodiscard]] std::string NodeDirectory(std::size_t index) const {
    return StrCat(directory, "/node-", names[index]);
  }
  [[nodiscard]] Status Reason(const ProcessExit& exit) const;
  void Follow(const std::stop_token& stop);
  Status Drain();
  Status Look();
  Result<bool> TakeExit();
  void SignalNode(const NodeName& name, int signal);

  RunOptions options;
  const ToolContext& context;
  std::string directory;
  std::vector<std::string> names;
  std::vector<PemFiles> node_files;
  PemFiles sn_files;
  std::unique_ptr<SvidSource> operator_identity;
  std::unique_ptr<TlsContext> tls;
  std::unique_ptr<HttpClient> client;
  Endpoint sn;
  std::size_t sn_process = 0;
  std::map<std::size_t, std::size_t> node_of_process;
  std::function<void(const RoundStory&)> on_round;
  std::function<void(const std::string&)> on_news;
  std::optional<LeaderKill> leader_kill;
  std::optional<std::size_t> killed_process;  // by us
  std::optional<std::size_t> to_start_again;  // the node of it
  Story story;
  std::size_t rounds_told = 0;
  Mailbox<std::vector<LedgerRecord>> mail{64};
  Processes processes;
  std::jthread follower;  // Last: it uses the client and the mailbox.
};

Status Swarm::Impl::Prepare() {
  const UtcTime now = context.clock.UtcNow();
  RETURN_IF_ERROR(MakeDirectories(directory + "/identity", 0700));
  RETURN_IF_ERROR(MakeDirectories(directory + "/sn"));
  ASSIGN_OR_RETURN(
      const DevAuthority authority,
      DevAuthority::LoadOrCreate(directory + "/identity", std::string(kTrustDomain), now));
  ASSIGN_OR_RETURN(sn_files, IssueFor(authority, "/swarm/sn", directory + "/identity", "sn", now));
  ASSIGN_OR_RETURN(
      const PemFiles operator_files,
      IssueFor(authority, "/swarm/operator", directory + "/identity", "operator", now));
  ASSIGN_OR_RETURN(operator_identity, LoadPemSource(operator_files, now));
  ASSIGN_OR_RETURN(tls,
                   TlsContext::Create(*operator_identity, PeerPolicy{{}, {"*/sn"}}, context.clock));
  client = std::make_unique<HttpClient>(*tls, HttpClientOptions{});
  for (std::size_t i = 0; i < options.nodes; ++i) {
    names.push_back(i < options.node_names.size() ? options.node_names[i] : DefaultNodeName(i));
    RETURN_IF_ERROR(MakeDirectories(NodeDirectory(i) + "/model"));
    ASSIGN_OR_RETURN(PemFiles files, IssueFor(authority, StrCat("/swarm/", names[i], "/sl"),
                                              directory + "/identity", "node-" + names[i], now));
    node_files.push_back(std::move(files));
  }
  return absl::OkStatus();
}

Status Swarm::Impl::StartSn() {
  ProcessSpec spec{.label = "network node",
                   .argv = {},
                   .environment = {},
                   .log_path = directory + "/sn/log.txt"};
  const std::string ready = directory + "/sn/ready.json";
  spec.argv = {context.self,
               "sn",
               "--sentinel",
               "--name",
               "sn",
               "--state-dir",
               directory + "/sn",
               "--host-ip",
               "127.0.0.1",
               "--listen-address",
               "127.0.0.1",
               "--sn-api-port",
               "0",
               "--health-port",
               "0",
               "--allow-loopback",
               "--ready-file",
               ready};
  AppendIdentity(sn_files, spec.argv);
  ASSIGN_OR_RETURN(sn_process, processes.Start(spec));
  ASSIGN_OR_RETURN(const std::string text,
                   WaitForFile(ready, processes, sn_process, kReadyWithin, context.stop));
  ASSIGN_OR_RETURN(const Json object, ParseJson(text));
  ASSIGN_OR_RETURN(const std::uint64_t port, GetUint(object, "api_port"));
  sn = Endpoint{"127.0.0.1", static_cast<std::uint16_t>(port)};
  return absl::OkStatus();
}

Status Swarm::Impl::CreateTraining() {
  Rules rules;
  rules.min_peers =
      options.min_peers != 0 ? options.min_peers : std::max<std::uint64_t>(1, options.nodes - 1);
  for (std::size_t i = 0; i < options.nodes; ++i) {
    ASSIGN_OR_RETURN(
        const SigningKey key,
        SigningKey::LoadOrCreate(NodeDirectory(i) + "/ledger-key.pem", context.random));
    rules.members[NodeName{names[i]}] = key.public_key();
  }
  ClientRequest request;
  request.method = "POST";
  request.target = "/v1/contracts";
  request.body = Json{{"name", options.contract}, {"rules", RulesJson(rules)}}.dump();
  return Annotate(client->DoJson(sn, request, context.stop).status(), "creating the training");
}

Status Swarm::Impl::StartNode(std::size_t index) {
  const std::string dir = NodeDirectory(index);
  ProcessSpec spec{.label = "node " + names[index],
                   .argv = {},
                   .environment = options.environment,
                   .log_path = dir + "/log.txt"};
  spec.argv = {context.self,       "sl",         "--name",           names[index],
               "--state-dir",      dir,          "--sn-url",         sn.Url(),
               "--host-ip",        "127.0.0.1",  "--listen-address", "127.0.0.1",
               "--sl-fs-port",     "0",          "--health-port",    "0",
               "--allow-loopback", "--contract", options.contract};
  if (options.keep_updates) spec.argv.emplace_back("--keep-updates");
  AppendIdentity(node_files[index], spec.argv);
  spec.argv.emplace_back("--");
  spec.argv.insert(spec.argv.end(), options.program.begin(), options.program.end());
  const std::uint64_t quorum =
      options.min_peers != 0 ? options.min_peers : std::max<std::uint64_t>(1, options.nodes - 1);
  spec.environment.insert(spec.environment.begin(), {{"MODEL_DIR", dir + "/model"},
                                                     {"MIN_PEERS", StrCat(quorum)},
                                                     {"PYTHONUNBUFFERED", "1"},
                                                     {"STARLING_NODE", names[index]},
                                                     {"STARLING_NODE_INDEX", StrCat(index)},
                                                     {"STARLING_NODES", StrCat(options.nodes)}});
  ASSIGN_OR_RETURN(const std::size_t process, processes.Start(spec));
  node_of_process[process] = index;
  return absl::OkStatus();
}

// A daemon's log line without its time and logger: only what went wrong.
std::string WhatItSaid(const std::string& line) {
  constexpr std::string_view kMark = " : ERROR : ";
  const std::size_t at = line.find(kMark);
  return Printable(at == std::string::npos ? line : line.substr(at + kMark.size()), kSaidMax);
}

// "node b was killed by signal 9 …": what a tired reader needs, in one line.
Status Swarm::Impl::Reason(const ProcessExit& exit) const {
  const std::string& label = processes.label(exit.index);
  const std::string how = exit.signal != 0 ? StrCat("was killed by signal ", exit.signal)
                                           : StrCat("ended with exit code ", exit.code);
  const std::vector<std::string> last = LastLines(processes.log_path(exit.index), 1);
  return WithNext(
      WithCode(absl::AbortedError(StrCat(
                   label, " ", how, last.empty() ? "" : "; it said last: " + WhatItSaid(last[0]))),
               "node-ended"),
      StrCat("read ", processes.log_path(exit.index)));
}

// Tails the SN into the mailbox, in its own thread. Trouble with the SN shows as its process's
// exit; here it is only tried again.
void Swarm::Impl::Follow(const std::stop_token& stop) {
  std::int64_t from = 0;
  while (!stop.stop_requested()) {
    Result<std::vector<LedgerRecord>> records = FetchRecords(*client, sn, from, 20s, stop);
    if (!records.ok()) return;
    if (records->empty()) continue;
    from = records->back().position + 1;
    if (!mail.Push(*std::move(records), stop)) return;
    processes.Wake();
  }
}

Status Swarm::Impl::Drain() {
  while (std::optional<std::vector<LedgerRecord>> records = mail.Pop({}, 0s)) {
    for (const LedgerRecord& record : *records) {
      RETURN_IF_ERROR(story.Add(record));
      if (story.trainings().empty()) continue;
      for (const auto& [number, round] : story.trainings().back().rounds) {
        if (!round.root || number.value() != rounds_told) continue;
        on_round(round);
        ++rounds_told;
      }
    }
  }
  return absl::OkStatus();
}

void Swarm::Impl::SignalNode(const NodeName& name, int signal) {
  for (const auto& [process, node] : node_of_process) {
    if (names[node] != name.value()) continue;
    processes.Signal(process, signal);
    if (signal == SIGKILL) killed_process = process;
  }
}

// Kills the leader if that is wanted and the time has come; starts it again when its round was
// sealed without it.
Status Swarm::Impl::Look() {
  if (!leader_kill || story.trainings().empty()) return absl::OkStatus();
  const TrainingStory& training = story.trainings().back();
  const bool was_killed = leader_kill->killed().has_value();
  leader_kill->Look(training, context.clock.Now());
  if (!was_killed && leader_kill->killed()) {
    on_news(StrCat("node ", leader_kill->killed()->value(), " was killed while it led round ",
                   leader_kill->round()->value()));
  }
  if (!to_start_again || !training.rounds.at(*leader_kill->round()).root) return absl::OkStatus();
  on_news(StrCat("node ", names[*to_start_again], " is started again"));
  RETURN_IF_ERROR(StartNode(*to_start_again));
  to_start_again.reset();
  return absl::OkStatus();
}

// Waits for one exit or for news. True when all nodes have ended well.
Result<bool> Swarm::Impl::TakeExit() {
  Duration span = kLookEvery;
  if (leader_kill && leader_kill->wake_at())
    span = std::clamp<Duration>(*leader_kill->wake_at() - context.clock.Now(), 0ms, span);
  const std::optional<ProcessExit> exit = processes.WaitForExit(span, context.stop);
  RETURN_IF_ERROR(Drain());
  if (context.stop.stop_requested())
    return absl::CancelledError("interrupted: all parts were stopped");
  RETURN_IF_ERROR(Look());
  if (!exit) return false;
  const auto node = node_of_process.find(exit->index);
  if (node != node_of_process.end() && killed_process == exit->index) {
    to_start_again = node->second;
    node_of_process.erase(node);
    RETURN_IF_ERROR(Look());
    return false;
  }
  if (node == node_of_process.end() || exit->code != 0) return Reason(*exit);
  node_of_process.erase(node);
  return node_of_process.empty() && !to_start_again;
}

Swarm::Swarm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Swarm::~Swarm() {
  impl_->follower.request_stop();
  impl_->processes.StopAll(kStopWithin);
}
const std::string& Swarm::directory() const { return impl_->directory; }

std::vector<std::string> Swarm::NodeDirectories() const {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < impl_->names.size(); ++i) all.push_back(impl_->NodeDirectory(i));
  return all;
}

Result<std::unique_ptr<Swarm>> Swarm::Start(const RunOptions& options, const ToolContext& context) {
  auto impl = std::make_unique<Impl>(options, context);
  ASSIGN_OR_RETURN(impl->directory, FreshDirectory(options.directory, "starling-run", context));
  RETURN_IF_ERROR(impl->Prepare());
  RETURN_IF_ERROR(impl->StartSn());
  RETURN_IF_ERROR(impl->CreateTraining());
  return std::unique_ptr<Swarm>(new Swarm(std::move(impl)));
}

Result<SwarmEnd> Swarm::Run(const std::function<void(const RoundStory&)>& on_round,
                            const std::function<void(const std::string&)>& on_news) {
  Impl& impl = *impl_;
  impl.on_round = on_round;
  impl.on_news = on_news;
  if (impl.options.kill_leader) {
    impl.leader_kill.emplace(
        [&impl](const NodeName& name, int signal) { impl.SignalNode(name, signal); });
  }
  for (std::size_t i = 0; i < impl.options.nodes; ++i) RETURN_IF_ERROR(impl.StartNode(i));
  impl.follower = std::jthread([&impl](const std::stop_token& stop) { impl.Follow(stop); });
  for (;;) {
    ASSIGN_OR_RETURN(const bool all_ended, impl.TakeExit());
    if (all_ended) break;
  }
  // The follower may be a few entries behind: ask for the rest ourselves.
  impl.follower.request_stop();
  impl.follower.join();
  RETURN_IF_ERROR(impl.Drain());
  for (;;) {
    ASSIGN_OR_RETURN(
        std::vector<LedgerRecord> rest,
        FetchRecords(*impl.client, impl.sn, impl.story.entries(), 0s, impl.context.stop));
    if (rest.empty()) break;
    static_cast<void>(impl.mail.Push(std::move(rest)));
    RETURN_IF_ERROR(impl.Drain());
  }
  impl.processes.StopAll(kStopWithin);
  ASSIGN_OR_RETURN(const TrainingStory* const training, impl.story.Find(impl.options.contract));
  SwarmEnd end;
  if (const RoundStory* last = training->LastSealed()) {
    end.rounds = last->round.value() + 1;
    end.final_root = last->root;
    end.same_everywhere = training->done && last->holders.size() == training->nodes.size();
  }
  end.holders_line = HoldersLine(*training);
  return end;
}

std::string DefaultNodeName(std::size_t index) {
  return index < 26 ? std::string(1, static_cast<char>('a' + index)) : StrCat("n", index + 1);
}

Result<std::string> FreshDirectory(const std::string& wanted, const std::string& stem,
                                   const ToolContext& context) {
  std::error_code error;
  std::string path = wanted;
  if (path.empty()) {
    std::string stamp = FormatUtc(context.clock.UtcNow()).substr(0, 19);
    std::erase_if(stamp, [](char c) { return c == '-' || c == ':'; });
    path = StrCat(stem, "-", stamp);
    for (int copy = 2; stdfs::exists(path, error); ++copy)
      path = StrCat(stem, "-", stamp, "-", copy);
  } else if (stdfs::exists(path, error) && !stdfs::is_empty(path, error)) {
    return WithNext(absl::AlreadyExistsError(StrCat(path, ": not empty")),
                    "name another directory, or remove this one");
  }
  RETURN_IF_ERROR(MakeDirectories(path));
  return stdfs::absolute(path, error).string();
}

}  // namespace starling
