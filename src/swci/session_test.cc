#include "swci/session.h"

#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "swci/sn_client_testing.h"
#include "swci/swci.h"

namespace starling {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SwciTest : public ::testing::Test {
 protected:
  SwciSurroundings Surroundings() {
    SwciSurroundings out;
    out.connect = [this](const Endpoint& sn) -> std::unique_ptr<SnClient> {
      connected_.push_back(sn.Url());
      return std::make_unique<FakeSnClient>(sn_);
    };
    out.pause = [this](Duration span) {
      paused_ += span;
      if (paused_ >= up_after_) sn_.up = true;
      return true;
    };
    out.change_directory = [this](const std::string& path) {
      directory_ = path;
      return absl::OkStatus();
    };
    out.directory = [this] { return Result<std::string>(directory_); };
    out.list_directory = [](const std::string&) {
      return Result<std::vector<std::string>>(std::vector<std::string>{"x", "y"});
    };
    return out;
  }
  std::string Run(const std::string& script, int expected_code, const std::string& input = "") {
    SwciOptions options;
    options.script = script;
    std::istringstream in(input);
    std::ostringstream out;
    EXPECT_EQ(RunSwci(options, Surroundings(), in, out, {}), expected_code);
    return out.str();
  }

  FakeSn sn_;
  std::vector<std::string> connected_;
  Duration paused_{0}, up_after_{1h};
  std::string directory_ = "/usr";
};

TEST_F(SwciTest, AScriptIsEchoedWithItsPromptsAndKnownResults) {
  EXPECT_EQ(Run("# a script\n"
                "create context demo with ip 127.0.0.1\n"
                "\n"
                "EXIT ON FAILURE\n"
                "create contract t\n"
                "LIST CONTRACTS\n"
                "cd /platform\n"
                "EXIT\n"
                "LIST NODES\n",
                0),
            "SWCI:0 > # a script\n"
            "SWCI:0 > create context demo with ip 127.0.0.1\n"
            "API Server is UP!\n"
            "CONTEXT CREATED : demo\n"
            "DEFAULT CONTEXT SET TO : demo\n"
            "SWCI:1 > \n"
            "SWCI:1 > EXIT ON FAILURE\n"
            "EXIT ON FAILURE IS TURNED ON\n"
            "SWCI:2 > create contract t\n"
            "CONTRACT CREATED : t\n"
            "SWCI:3 > LIST CONTRACTS\n"
            "t\n"
            "SWCI:4 > cd /platform\n"
            "Current Directory : /platform\n"
            "SWCI:5 > EXIT\n");
  EXPECT_THAT(connected_, ElementsAre("https://127.0.0.1:30304"));
}

TEST_F(SwciTest, AFailureEndsTheSessionOnlyWhenArmed) {
  const std::string on = Run("EXIT ON FAILURE\nLIST NODES\nPWD\n", 1);
  EXPECT_THAT(on, HasSubstr("\nERROR : no context"));
  EXPECT_THAT(on, ::testing::Not(HasSubstr("Current Directory")));
  const std::string off = Run("EXIT ON FAILURE\nEXIT ON FAILURE OFF\nLIST NODES\nPWD\n", 0);
  EXPECT_THAT(off, HasSubstr("Current Directory"));
}

TEST_F(SwciTest, StandardInputFollowsTheScript) {
  EXPECT_THAT(Run("PWD\n", 0, "SLEEP 3\nNONSENSE\n"),
              HasSubstr("SWCI:2 > NONSENSE\nERROR : unknown command"));
  EXPECT_EQ(paused_, 3s);
}

TEST_F(SwciTest, WaitsForAnApiThatComesUp) {
  sn_.up = false;
  up_after_ = 15s;
  EXPECT_THAT(Run("WAIT FOR IP sn.example 1234\n", 0), HasSubstr("API Server is UP!"));
  EXPECT_EQ(sn_.asked_up, 4);
  EXPECT_THAT(connected_, ElementsAre("https://sn.example:1234"));
}

TEST_F(SwciTest, GivesUpAfterTheRetries) {
  sn_.up = false;
  EXPECT_THAT(Run("WAIT FOR IP sn.example 1234 3\n", 0), HasSubstr("ERROR : API Server is not up"));
  EXPECT_EQ(sn_.asked_up, 3);
}

TEST_F(SwciTest, TasksComeLater) {
  EXPECT_THAT(Run("CREATE TASK FROM x.yaml\nRESET TASKRUNNER r\n", 0),
              HasSubstr("ERROR : tasks and task runners come in a later release"));
}

TEST_F(SwciTest, ListsNodesAsHpeDoes) {
  sn_.nodes = {{{"type", "SL"},
                {"name", "a"},
                {"host", "h"},
                {"port", 30305},
                {"uuid", "u"},
                {"parent", "p"},
                {"contract", "t"},
                {"alive_unix_ms", 1'700'000'000'000}}};
  SwciSession session(Surroundings());
  session.Preset("default", *Endpoint::Parse("https://h:1"));
  EXPECT_THAT(session.Execute("list nodes").lines,
              ElementsAre("NodeType,HostIP,Port,ContainerName,UUID,ParentUUID,i-am-alive",
                          "SL,h,30305,a,u,p,2023-11-14T22:13:20.000Z"));
}

TEST_F(SwciTest, PerfDataReadsTheWholeLedgerOfTheInstance) {
  sn_.contracts["t"] = FakeSn::ContractJson("t");
  sn_.contracts["t"]["nodes"] = {FakeSn::ContractNodeJson("a", false),
                                 FakeSn::ContractNodeJson("b", false)};
  const auto entry = [](std::int64_t position, std::string author, double loss,
                        std::string ignored) {
    return DecodedEntry{
        position,
        {},
        std::move(author),
        std::move(ignored),
        {{"type", "checked-in"}, {"contract", "t"}, {"loss", loss}, {"batches", 10}}};
  };
  sn_.entries = {entry(0, "a", 9.0, ""), entry(2, "a", 0.5, ""), entry(3, "b", 0.75, ""),
                 entry(4, "a", 0.25, ""), entry(5, "b", 0.1, "void")};
  SwciSession session(Surroundings());
  session.Preset("default", *Endpoint::Parse("https://h:1"));
  const std::vector<std::string> lines = session.Execute("PERFDATA t").lines;
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[1], "-,a,False,0.25,-,-,-,2,20");
  EXPECT_EQ(lines[2], "-,b,False,0.75,-,-,-,1,10");
}

TEST_F(SwciTest, ContextsHaveTheirOwnVariablesAndCanBeSwitched) {
  SwciSession session(Surroundings());
  session.Execute("CREATE CONTEXT one WITH IP h");
  session.Execute("CREATE CONTEXT two WITH SERVICE s");
  EXPECT_THAT(session.Execute("SET CONTEXT ENV two K V").lines, ElementsAre("K=V"));
  EXPECT_TRUE(session.Execute("GET CONTEXT ENV K").failed);
  EXPECT_THAT(session.Execute("SWITCH CONTEXT two").lines,
              ElementsAre("DEFAULT CONTEXT SET TO : two"));
  EXPECT_THAT(session.Execute("GET CONTEXT ENV K").lines, ElementsAre("K=V"));
  EXPECT_THAT(session.Execute("LIST CONTEXTS").lines,
              ElementsAre("  one : https://h:30304", "* two : https://s:443"));
  EXPECT_TRUE(session.Execute("SWITCH CONTEXT three").failed);
}

TEST_F(SwciTest, ACommandOfTheCommandLineDecidesTheExitCode) {
  SwciOptions options;
  options.sn = *Endpoint::Parse("https://h:1");
  options.commands = {"RESET CONTRACT nothing", "PWD"};
  std::istringstream in("PWD\n");
  std::ostringstream out;
  EXPECT_EQ(RunSwci(options, Surroundings(), in, out, {}), 1);
  EXPECT_THAT(out.str(), HasSubstr("SWCI:1 > PWD\nCurrent Directory : /usr\n"));
}

}  // namespace
}  // namespace starling
