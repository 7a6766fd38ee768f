#include "environment.h"

#include <set>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "node_configs.h"
#include "node_identity.h"

namespace starling {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Flags = std::map<std::string, std::string>;

Settings Gathered(Role role, const EnvironmentMap& environment, const Flags& flags = {},
                  const Flags& file = {}) {
  Result<Settings> settings = Settings::Gather(role, flags, environment, file);
  EXPECT_TRUE(settings.ok()) << settings.status();
  return *std::move(settings);
}
NetworkNodeConfig Sn(const EnvironmentMap& environment, const Flags& flags = {}) {
  const Result<NetworkNodeConfig> config = SnConfigFrom(Gathered(Role::kSn, environment, flags));
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(NetworkNodeConfig{});
}
Host TestHost() {
  return {.name = "host", .python = "python3", .is_directory = [](const std::string& path) {
            return path == "/platform/swarmml/model";
          }};
}
LearningNodeConfig Sl(EnvironmentMap environment, const std::vector<std::string>& program = {}) {
  environment.emplace("SN_NODE_IP", "sn");
  const Result<LearningNodeConfig> config =
      SlConfigFrom(Gathered(Role::kSl, environment), program, TestHost());
  EXPECT_TRUE(config.ok()) << config.status();
  return config.value_or(LearningNodeConfig{});
}

TEST(SettingsTable, EveryRoleHasEachNameFlagAndVariableOnce) {
  for (const Role role : {Role::kSn, Role::kSl, Role::kSwci, Role::kOperator, Role::kSpireTokens}) {
    std::set<std::string_view> flags, variables;
    for (const Setting& setting : SettingsTable()) {
      if ((setting.roles & static_cast<unsigned>(role)) == 0) continue;
      EXPECT_TRUE(flags.insert(setting.name).second) << RoleName(role) << " " << setting.name;
      for (const std::string_view flag : setting.flags)
        EXPECT_TRUE(flag.empty() || flags.insert(flag).second) << flag;
      for (const std::string_view name : setting.env)
        EXPECT_TRUE(name.empty() || variables.insert(name).second) << name;
      for (const std::string_view name : setting.env_03)
        EXPECT_TRUE(name.empty() || variables.insert(name).second) << name;
      EXPECT_FALSE(setting.meaning.empty()) << setting.name;
    }
  }
}

// The variables of HPE's documents, each with where it ends up.
TEST(Environment, AnSnOf03IsTheSentinelWhenTheAddressesAreEqual) {
  const NetworkNodeConfig config = Sn({{"THIS_NODE_IP", "10.0.0.1"},
                                       {"SENTINEL_NODE_IP", "10.0.0.1"},
                                       {"API_SERVER_PORT", "1234"}});
  EXPECT_TRUE(config.sentinel);
  EXPECT_TRUE(config.hpe03_log_form);
  EXPECT_EQ(config.advertise_host, "10.0.0.1");
  EXPECT_EQ(config.api_port, 1234);
}

TEST(Environment, AnSnWithAnotherSentinelIsNone) {
  const NetworkNodeConfig config = Sn({{"THIS_NODE_IP", "10.0.0.2"},
                                       {"SENTINEL_NODE_IP", "10.0.0.1,10.0.0.3:7"},
                                       {"SENTINEL_API_SERVER_PORT", "1234"}});
  EXPECT_FALSE(config.sentinel);
  EXPECT_THAT(config.sentinel_urls, ElementsAre("https://10.0.0.1:1234", "https://10.0.0.3:7"));
  EXPECT_EQ(config.name, "");  // One that its key gives.
  EXPECT_THAT(Sn({{"SENTINEL_API_SERVICE", "sentinel.example"}}).sentinel_urls,
              ElementsAre("https://sentinel.example:443"));
  // Two of one host.
  EXPECT_FALSE(Sn({{"THIS_NODE_IP", "10.0.0.1"},
                   {"SENTINEL_NODE_IP", "10.0.0.1"},
                   {"SENTINEL_API_SERVER_PORT", "1234"}})
                   .sentinel);
  EXPECT_FALSE(Sn({{"THIS_NODE_IP", "10.0.0.1"},
                   {"SENTINEL_NODE_IP", "10.0.0.1"},
                   {"SN_I_AM_SENTINEL", "False"}})
                   .sentinel);
  EXPECT_EQ(Sn({{"SENTINEL_NODE_IP", "10.0.0.1"}, {"STARLING_NODE_NAME", "f"}}).name, "f");
  const auto settings = Settings::Gather(Role::kSn, {}, {{"SN_I_AM_SENTINEL", "False"}}, {});
  ASSERT_TRUE(settings.ok());
  EXPECT_EQ(StableCode(SnConfigFrom(*settings).status()), "no-sentinel");
  EXPECT_TRUE(Sn({{"SN_I_AM_SENTINEL", "1"}}).sentinel);
  EXPECT_TRUE(Sn({}).sentinel);
}

TEST(Environment, TwoXNamesPrintTheTwoXLogForm) {
  const NetworkNodeConfig config =
      Sn({{"SN_I_AM_SENTINEL", "true"}, {"SN_API_SERVER_PORT", "30304"}});
  EXPECT_FALSE(config.hpe03_log_form);
  EXPECT_TRUE(Sn({{"ETH_PORT", "30303"}}).hpe03_log_form);
  EXPECT_TRUE(Sn({}, {{"sn-fs-port", "30305"}}).hpe03_log_form);
}

TEST(Environment, ServicesAreNamesBehindAProxy) {
  const NetworkNodeConfig config = Sn({{"SN_API_SERVICE", "api.example"}});
  EXPECT_EQ(config.advertise_host, "api.example");
  EXPECT_EQ(config.advertise_port, 443);
  const LearningNodeConfig sl = Sl({{"SL_FS_SERVICE", "fs.example:8443"}});
  EXPECT_EQ(sl.advertise_host, "fs.example");
  EXPECT_EQ(sl.advertise_port, 8443);
}

TEST(Environment, TheSentinelOfAnSlIsItsSn) {
  const Settings settings = Gathered(
      Role::kSl,
      {{"THIS_NODE_IP", "x"}, {"SENTINEL_NODE_IP", "10.0.0.1"}, {"API_SERVER_PORT", "1234"}});
  const Result<LearningNodeConfig> config = SlConfigFrom(settings, {}, TestHost());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->sn_urls, ElementsAre("https://10.0.0.1:1234"));
}

TEST(Environment, SeveralSnsStandInAListWithCommas) {
  EXPECT_THAT(Sl({{"SN_NODE_IP", "10.0.0.1, sn2 ,"}, {"SN_API_SERVER_PORT", "99"}}).sn_urls,
              ElementsAre("https://10.0.0.1:99", "https://sn2:99"));
  EXPECT_THAT(Sl({{"SN_API_SERVICE", "api.example"}}).sn_urls,
              ElementsAre("https://api.example:443"));
  EXPECT_THAT(Sl({{"STARLING_SN", "https://a:1,b:2,[::1]:3"}}).sn_urls,
              ElementsAre("https://a:1", "https://b:2", "https://[::1]:3"));
}

TEST(Environment, AnSlWithoutAnSnIsTold) {
  const Result<LearningNodeConfig> config = SlConfigFrom(Gathered(Role::kSl, {}), {}, TestHost());
  EXPECT_EQ(StableCode(config.status()), "no-sn");
}

TEST(Environment, VariablesOfAnSlReachItsConfig) {
  const LearningNodeConfig config = Sl({{"ML_FS_PORT", "7"},
                                        {"SL_MAKE_ME_ADMIN", "False"},
                                        {"SL_REQUEST_CHANNEL", "/tmp/channel/request.channel"}});
  EXPECT_EQ(config.blob_port, 7);
  EXPECT_FALSE(config.may_lead);
  EXPECT_EQ(config.socket_path, "/tmp/channel/starling.sock");
  EXPECT_EQ(config.name, "host");
  EXPECT_EQ(config.contract, "defaultbb.cqdb.sml.hpe");
  EXPECT_EQ(Sl({{"SL_FS_PORT", "8"}, {"ML_FS_PORT", "7"}}).blob_port, 8);
}

TEST(Environment, TheProgramComesFromMlcmdUnlessOneIsGiven) {
  EXPECT_THAT(Sl({{"MLCMD", "run train.py --epochs 3"}, {"MODEL_DIR", "/m"}}).program,
              ElementsAre("python3", "/m/train.py", "--epochs", "3"));
  EXPECT_THAT(Sl({{"MLCMD", "run sub/train.py"}}).program,
              ElementsAre("python3", "/platform/swarmml/model/sub/train.py"));
  EXPECT_THAT(Sl({{"MLCMD", "run /abs/train.py"}}).program,
              ElementsAre("python3", "/abs/train.py"));
  EXPECT_THAT(Sl({{"MLCMD", "sh -c 'a b'"}}).program, ElementsAre("sh", "-c", "a b"));
  EXPECT_THAT(Sl({{"MLCMD", "run x.py"}}, {"mine"}).program, ElementsAre("mine"));
  EXPECT_TRUE(Sl({}).program.empty());
}

TEST(SplitWords, KnowsQuotesAndBackslashesAndNothingElse) {
  EXPECT_THAT(*SplitWords(R"(a 'b c'"d" \e\ f "g\"h" '' $X)"),
              ElementsAre("a", "b cd", "e f", "g\"h", "", "$X"));
  EXPECT_FALSE(SplitWords("a 'b").ok());
  EXPECT_FALSE(SplitWords("a\\").ok());
}

TEST(Environment, WhatIsNotNeededIsAcceptedWithOneLineAKind) {
  const Settings sn =
      Gathered(Role::kSn, {{"SENTINEL_FS_PORT", "30305"},
                           {"SN_FS_PORT", "30305"},
                           {"ETH_PORT", "30303"},
                           {"SN_ETH_P2P_SERVICE", "x"},
                           {"SWARM_LICENSE_AUTOPASSJ_SERVER_PRIMARY_IP", "l"},
                           {"SWARM_LICENSE_AUTOPASSJ_SERVER_SECONDARY_PORT", "5814"}});
  EXPECT_EQ(sn.notes().size(), 3U);
  EXPECT_THAT(sn.notes(), ::testing::Contains("licence options are accepted and not needed"));
  EXPECT_THAT(sn.notes(), ::testing::Contains(HasSubstr("accepted, not needed")));
  const Settings sl = Gathered(Role::kSl, {{"SL_LEADER_FAILURE_BASE_TIMEOUT", "600"},
                                           {"SL_WAIT_FOR_FULL_QUORUM_SECONDS", "30"},
                                           {"SL_RAM_INTENSIVE", "False"},
                                           {"SL_MODEL_PARAMS_COMPRESSION_THRESHOLD_MB", "250"},
                                           {"SL_RESPONSE_CHANNEL", "/x"}});
  EXPECT_EQ(sl.notes().size(), 5U);
}

TEST(Environment, WhatIsRefusedSaysWhatToDoInstead) {
  const auto refusal = [](const std::string& flag) {
    return Settings::Gather(Role::kSn, {{flag, "true"}}, {}, {}).status();
  };
  EXPECT_EQ(StableCode(refusal("gen-join-token")), "not-yet");
  EXPECT_THAT(std::string(refusal("gen-join-token").message()), HasSubstr("token generate"));
  EXPECT_THAT(std::string(refusal("spire-agent-config").message()), HasSubstr("--server-address"));
}

TEST(Environment, FlagsWinOverVariablesOverTheFileOverDefaults) {
  const EnvironmentMap environment{{"SN_API_SERVER_PORT", "2"}, {"API_SERVER_PORT", "3"}};
  const Flags file{{"sn-api-port", "4"}};
  EXPECT_EQ(Gathered(Role::kSn, environment, {{"sn-api-port", "1"}}, file).Text("sn-api-port"),
            "1");
  EXPECT_EQ(Gathered(Role::kSn, environment, {}, file).Text("sn-api-port"), "2");
  EXPECT_EQ(Gathered(Role::kSn, {{"API_SERVER_PORT", "3"}}, {}, file).Text("sn-api-port"), "3");
  EXPECT_EQ(Gathered(Role::kSn, {{"SN_API_SERVER_PORT", ""}}, {}, file).Text("sn-api-port"), "4");
  EXPECT_EQ(Gathered(Role::kSn, {}).Text("sn-api-port"), "30304");
}

TEST(Settings, RefuseValuesOfAnotherKindAndNameTheirSource) {
  const Settings settings = Gathered(Role::kSn, {{"API_SERVER_PORT", "65536"},
                                                 {"STARLING_QUORUM_GRACE", "soon"},
                                                 {"SN_I_AM_SENTINEL", "perhaps"}});
  EXPECT_THAT(std::string(settings.Port("sn-api-port").status().message()),
              HasSubstr("API_SERVER_PORT: \"65536\""));
  EXPECT_THAT(std::string(settings.Span("quorum-grace").status().message()),
              HasSubstr("STARLING_QUORUM_GRACE"));
  EXPECT_FALSE(settings.Bool("sentinel").ok());
}

TEST(Settings, ReadTimesWithAndWithoutUnits) {
  const auto span = [](const std::string& text) {
    return Gathered(Role::kSn, {}, {{"quorum-grace", text}}).Span("quorum-grace");
  };
  EXPECT_EQ(span("30").value(), 30s);
  EXPECT_EQ(span("500ms").value(), 500ms);
  EXPECT_EQ(span("10M").value(), 600s);
  EXPECT_EQ(span("1h").value(), 3600s);
  for (const std::string bad : {"", "s", "-1", "1.5s", "1d", "99999999999999999999", "9999999999h"})
    EXPECT_FALSE(span(bad).ok()) << bad;
}

TEST(SettingsFile, HoldsOurNamesAndSections) {
  const auto file =
      ParseSettingsFile("cert: /c\nsl:\n  cert: /sl\nsn: {sentinel: true}\n", Role::kSl);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->at("cert"), "/sl");
  EXPECT_FALSE(file->contains("sentinel"));
  EXPECT_TRUE(ParseSettingsFile("", Role::kSl)->empty());
  for (const std::string bad :
       {"colour: red", "- a", "sl: {colour: red}", "cert: [a]", "{", "cert: {a: b}"}) {
    EXPECT_EQ(StableCode(ParseSettingsFile(bad, Role::kSl).status()), "bad-setting") << bad;
  }
}

TEST(Identity, AMissingOneNamesWhatIsMissing) {
  const Status nothing = IdentityFrom(Gathered(Role::kSn, {}), Role::kSn).status();
  EXPECT_THAT(std::string(nothing.message()), HasSubstr("No identity specified"));
  EXPECT_THAT(std::string(nothing.message()), HasSubstr("--cert --key --cacert"));
  const Status partly =
      IdentityFrom(Gathered(Role::kSn, {{"SWARM_ID_CERT", "c"}, {"SWARM_ID_KEY", "k"}}), Role::kSn)
          .status();
  EXPECT_THAT(std::string(partly.message()), HasSubstr("missing --cacert"));
  EXPECT_TRUE(IdentityFrom(Gathered(Role::kSn, {{"SWARM_ID_CERT", "c"},
                                                {"SWARM_ID_KEY", "k"},
                                                {"SWARM_ID_CAPATH", "p"}}),
                           Role::kSn)
                  .ok());
}

TEST(Identity, IsASocketOfTheWorkloadApiByEitherVariable) {
  for (const std::string name :
       {"SWARM_SPIFFE_WORKLOAD_API_SOCKET_PATH", "SPIFFE_ENDPOINT_SOCKET"}) {
    const Result<IdentityConfig> config =
        IdentityFrom(Gathered(Role::kSl, {{name, "/run/agent.sock"}}), Role::kSl);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(std::get<WorkloadOptions>(config->source).address, "/run/agent.sock");
    EXPECT_THAT(std::get<WorkloadOptions>(config->source).choice.paths, ElementsAre("*/sl"));
  }
}

TEST(Identity, IsAJoinTokenInHpesWords) {
  const EnvironmentMap environment{
      {"SPIRE_JOIN_TOKEN", "t"}, {"SPIRE_SERVER_IP", "h"}, {"SPIFFE_ENDPOINT_SOCKET", "/s"}};
  const Result<IdentityConfig> config =
      IdentityFrom(Gathered(Role::kSn, environment, {{"insecure-bootstrap", "true"}}), Role::kSn);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto& join = std::get<JoinOptions>(config->source);
  EXPECT_EQ(join.token, "t");
  EXPECT_EQ(join.server_host, "h");
  EXPECT_EQ(join.server_port, 8081);
  EXPECT_EQ(join.trust_domain, "swarm.learning");
  EXPECT_TRUE(join.insecure_bootstrap);
  EXPECT_EQ(join.state_dir, "starling-sn");
  // After the first start the server alone is enough.
  EXPECT_TRUE(IdentityFrom(Gathered(Role::kSwci, {{"SPIRE_SERVER_IP", "h"}}), Role::kSwci).ok());
  EXPECT_EQ(StableCode(
                IdentityFrom(Gathered(Role::kSn, {{"SPIRE_JOIN_TOKEN", "t"}}), Role::kSn).status()),
            "no-identity");
}

TEST(Identity, AnOperatorHasNoneByAJoinToken) {
  const Result<IdentityConfig> config =
      IdentityFrom(Gathered(Role::kOperator, {{"SPIRE_SERVER_IP", "h"}, {"SPIRE_JOIN_TOKEN", "t"}},
                            {{"socket-path", "/s"}}),
                   Role::kOperator);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(std::holds_alternative<WorkloadOptions>(config->source));
}

TEST(Identity, ASocketWinsOverAServerWithoutAToken) {
  const auto source = [](EnvironmentMap environment, const Flags& flags) {
    environment.emplace("SPIRE_SERVER_IP", "h");
    const Result<IdentityConfig> config =
        IdentityFrom(Gathered(Role::kSl, environment, flags), Role::kSl);
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? config->source : decltype(config->source)();
  };
  const auto socket = source({}, {{"socket-path", "/s"}});
  ASSERT_TRUE(std::holds_alternative<WorkloadOptions>(socket));
  EXPECT_EQ(std::get<WorkloadOptions>(socket).address, "/s");
  EXPECT_TRUE(
      std::holds_alternative<WorkloadOptions>(source({{"SPIFFE_ENDPOINT_SOCKET", "/s"}}, {})));
  EXPECT_TRUE(std::holds_alternative<JoinOptions>(
      source({{"SPIRE_JOIN_TOKEN", "t"}}, {{"socket-path", "/s"}})));
  EXPECT_TRUE(std::holds_alternative<JoinOptions>(
      source({{"SPIFFE_ENDPOINT_SOCKET", "/s"}}, {{"join-token-file", "f"}})));
}

// It comes later, or has done its work at the first start; then what that has kept is asked.
TEST(Identity, AJoinTokenFileThatIsGoneOrEmptyIsWaitedFor) {
  const ScratchDirectory scratch;
  IdentityConfig config;
  config.join_token_file = scratch.File("token");
  config.source = JoinOptions{.server_host = "h",
                              .trust_domain = "a",
                              .insecure_bootstrap = true,
                              .state_dir = scratch.File("state")};
  const RealClock clock;
  const auto opened = [&] { return OpenIdentity(config, clock, Log{}).status(); };
  EXPECT_TRUE(opened().ok()) << opened();
  ASSERT_TRUE(WriteFileDurably(config.join_token_file, "\n").ok());
  EXPECT_TRUE(opened().ok()) << opened();
  ASSERT_TRUE(WriteFileDurably(config.join_token_file, "two words").ok());
  EXPECT_TRUE(absl::IsInvalidArgument(opened())) << opened();
}

TEST(Identity, FilesWinOverWhatAnEnvironmentNamesForAll) {
  const EnvironmentMap environment{{"SPIFFE_ENDPOINT_SOCKET", "/s"}, {"SPIRE_SERVER_IP", "h"}};
  const Result<IdentityConfig> config = IdentityFrom(
      Gathered(Role::kSl, environment, {{"cert", "c"}, {"key", "k"}, {"cacert", "a"}}), Role::kSl);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(std::get<PemFiles>(config->source).cert, "c");
}

TEST(ParseHostPort, ReadsWhatPeopleWrite) {
  EXPECT_EQ(ParseHostPort("h", 5)->Url(), "https://h:5");
  EXPECT_EQ(ParseHostPort("h:6", 5)->Url(), "https://h:6");
  EXPECT_EQ(ParseHostPort("::1", 5)->Url(), "https://[::1]:5");
  EXPECT_EQ(ParseHostPort("[::1]:6", 5)->Url(), "https://[::1]:6");
  EXPECT_EQ(ParseHostPort("https://h:7", 5)->Url(), "https://h:7");
  for (const std::string bad : {"", "h:x", "a b", "http://h:7", "https://h:7/x", "u@h"})
    EXPECT_FALSE(ParseHostPort(bad, 5).ok()) << bad;
}

TEST(EnvironmentOutput, HoldsEverySetting) {
  const std::string text = EnvironmentText();
  const Json json = EnvironmentJson();
  EXPECT_EQ(json.size(), SettingsTable().size());
  for (const Setting& setting : SettingsTable())
    EXPECT_THAT(text, HasSubstr("--" + std::string(setting.name)));
}

}  // namespace
}  // namespace starling
