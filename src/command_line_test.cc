#include "command_line.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Command = CommandLine::Command;

CommandLine Parsed(const std::vector<std::string>& arguments) {
  Result<CommandLine> line = ParseCommandLine(arguments);
  EXPECT_TRUE(line.ok()) << line.status();
  return line.value_or(CommandLine{});
}

TEST(CommandLine, FlagsAreCaseInsensitiveWithValuesBehindASpaceOrAnEqualsSign) {
  const CommandLine line = Parsed({"sn", "--HOST-IP", "10.0.0.1", "--Sn-Api-Port=7", "--sentinel"});
  EXPECT_EQ(line.command, Command::kSn);
  EXPECT_EQ(line.flags.at("host-ip"), "10.0.0.1");
  EXPECT_EQ(line.flags.at("sn-api-port"), "7");
  EXPECT_EQ(line.flags.at("sentinel"), "true");
  EXPECT_FALSE(line.flags.contains("cert"));
}

TEST(CommandLine, OtherSpellingsEndInOneName) {
  EXPECT_EQ(Parsed({"sn", "--primary-apls-ip", "x"}).flags.at("apls-ip"), "x");
  EXPECT_EQ(Parsed({"sl", "--blob-port", "0"}).flags.at("sl-fs-port"), "0");
  EXPECT_EQ(Parsed({"sn", "--sentinel=false"}).flags.at("sentinel"), "false");
}

TEST(CommandLine, TakesTheSpireAgentsArgumentsAsHpePassesThem) {
  const std::vector<std::string> agent = {"-joinToken",         "t",
                                          "-serverAddress",     "spire",
                                          "-serverPort",        "8081",
                                          "-trustDomain",       "d",
                                          "-insecureBootstrap", "true",
                                          "-logLevel",          "DEBUG",
                                          "-config=/a.conf",    "-genJoinToken"};
  for (const std::string role : {"sn", "sl", "swci"}) {
    std::vector<std::string> arguments = agent;
    arguments.insert(arguments.begin(), role);
    const CommandLine line = Parsed(arguments);
    EXPECT_EQ(line.flags.at("join-token"), "t") << role;
    EXPECT_EQ(line.flags.at("server-address"), "spire");
    EXPECT_EQ(line.flags.at("insecure-bootstrap"), "true");
    EXPECT_EQ(line.flags.at("log-level"), "DEBUG");
    EXPECT_EQ(line.flags.at("spire-agent-config"), "/a.conf");
    EXPECT_EQ(line.flags.at("gen-join-token"), "true");
    EXPECT_FALSE(line.flags.contains("config"));
  }
}

TEST(CommandLine, WhatStandsBehindTwoDashesIsTheProgram) {
  EXPECT_THAT(
      Parsed({"sl", "--name", "a", "--", "python", "x.py", "--sentinel", "--", "-joinToken"})
          .program,
      ElementsAre("python", "x.py", "--sentinel", "--", "-joinToken"));
  const CommandLine run =
      Parsed({"run", "-n", "3", "--names", "x,y,z", "-e", "A=b=c", "--", "prog"});
  EXPECT_EQ(run.run.nodes, 3U);
  EXPECT_THAT(run.run.program, ElementsAre("prog"));
  EXPECT_THAT(run.run.node_names, ElementsAre("x", "y", "z"));
  EXPECT_THAT(run.run.environment, ElementsAre(std::pair<std::string, std::string>("A", "b=c")));
  EXPECT_FALSE(ParseCommandLine({"status", "--", "x"}).ok());
}

TEST(CommandLine, ReadsWhereTheClientGoes) {
  const CommandLine line = Parsed({"client", "install", "/opt/x"});
  EXPECT_EQ(line.command, Command::kClientInstall);
  EXPECT_EQ(line.client_install.directory, "/opt/x");
  EXPECT_EQ(line.client_install.from, "/usr/share/starling/python");
  EXPECT_EQ(Parsed({"client", "install", "/opt/x", "--from", "/y"}).client_install.from, "/y");
  EXPECT_FALSE(ParseCommandLine({"client", "install"}).ok());
}

TEST(CommandLine, ReadsTheOperatorsCommands) {
  const CommandLine create = Parsed({"training", "create", "t", "--min-peers", "2", "--initial",
                                     "merge", "--admin", "x", "--admin", "y", "--sn", "h"});
  EXPECT_EQ(create.command, Command::kTraining);
  EXPECT_EQ(create.training.action, TrainingRequest::Action::kCreate);
  EXPECT_EQ(create.training.name, "t");
  EXPECT_EQ(create.training.rules.min_peers, 2U);
  EXPECT_THAT(create.training.rules.admins, ElementsAre("x", "y"));
  EXPECT_EQ(create.flags.at("sn"), "h");
  const CommandLine revoke = Parsed({"training", "revoke", "t", "a", "--json"});
  EXPECT_EQ(revoke.training.node, "a");
  EXPECT_TRUE(revoke.training.json);
  EXPECT_TRUE(Parsed({"status", "--watch"}).status.watch);
  EXPECT_THAT(Parsed({"swci", "--cmd", "LIST NODES", "--cmd", "PWD"}).swci_commands,
              ElementsAre("LIST NODES", "PWD"));
  EXPECT_EQ(Parsed({"explain", "dir", "--round", "3"}).explain.round, 3U);
  EXPECT_THAT(
      Parsed({"identity", "dev-ca", "d", "--issue", "/swarm/sl:a", "--issue", "/swarm/sn:b"})
          .dev_ca.issue,
      ElementsAre("/swarm/sl:a", "/swarm/sn:b"));
}

TEST(CommandLine, WhatItDoesNotKnowIsAUsageErrorInOneLine) {
  const std::vector<std::vector<std::string>> bad = {{"dance"},
                                                     {"sn", "--colour", "red"},
                                                     {"sn", "--host-ip"},
                                                     {"training"},
                                                     {"training", "show"},
                                                     {"verify"},
                                                     {"run", "-n", "many", "--", "x"},
                                                     {"sl", "extra"}};
  for (const auto& arguments : bad) {
    const Result<CommandLine> line = ParseCommandLine(arguments);
    EXPECT_EQ(StableCode(line.status()), "usage") << arguments[0];
    EXPECT_EQ(ErrorLine(line.status(), "starling").find('\n'), std::string::npos);
  }
}

TEST(CommandLine, HelpSaysHowTheCommandIsCalled) {
  EXPECT_THAT(Parsed({}).help, HasSubstr("Usage: starling [OPTIONS]"));
  EXPECT_THAT(Parsed({"sl", "--help"}).help, HasSubstr("Usage: starling sl [OPTIONS]"));
  EXPECT_THAT(Parsed({"training", "create", "--help"}).help,
              HasSubstr("Usage: starling training create [OPTIONS] TRAINING"));
}

TEST(CommandLine, HelpNamesTheCommandsAndHidesWhatComesLater) {
  EXPECT_THAT(Parsed({}).help, HasSubstr("training"));
  const std::string sn = Parsed({"sn", "--help"}).help;
  EXPECT_THAT(sn, HasSubstr("--sn-api-port"));
  EXPECT_THAT(sn, ::testing::Not(HasSubstr("--gen-join-token")));
  EXPECT_EQ(Parsed({"--version"}).command, Command::kVersion);
}

}  // namespace
}  // namespace starling
