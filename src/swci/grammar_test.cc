#include "swci/grammar.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SwciCommand Parsed(std::string_view line) {
  const Result<SwciCommand> command = ParseSwciLine(line);
  EXPECT_TRUE(command.ok()) << command.status();
  return command.value_or(SwciCommand{});
}

TEST(SwciGrammar, KeywordsAreCaseInsensitiveAndNamesLiteral) {
  const SwciCommand command = Parsed("  create Context MyCtx with IP 172.1.1.1 30304 ");
  EXPECT_EQ(command.verb, SwciVerb::kCreateContext);
  EXPECT_THAT(command.arguments, ElementsAre("MyCtx", "172.1.1.1", "30304"));
}

TEST(SwciGrammar, AcceptsTheOlderSpellings) {
  EXPECT_THAT(Parsed("CREATE CONTEXT c 10.0.0.1").arguments, ElementsAre("c", "10.0.0.1"));
  EXPECT_EQ(Parsed("WAIT FOR 10.0.0.1 30304 3").verb, SwciVerb::kWaitForIp);
  EXPECT_THAT(Parsed("WAIT FOR IP 10.0.0.1").arguments, ElementsAre("10.0.0.1"));
}

TEST(SwciGrammar, TellsWhatLooksAlikeApart) {
  EXPECT_EQ(Parsed("EXIT").verb, SwciVerb::kExit);
  EXPECT_EQ(Parsed("EXIT ON FAILURE").verb, SwciVerb::kExitOnFailure);
  EXPECT_THAT(Parsed("exit on failure OFF").arguments, ElementsAre("OFF"));
  EXPECT_EQ(Parsed("CREATE CONTEXT c WITH SERVICE sn.example:443").verb,
            SwciVerb::kCreateContextService);
  EXPECT_EQ(Parsed("WAIT FOR TASKRUNNER t").verb, SwciVerb::kLater);
  EXPECT_EQ(Parsed("WAIT FOR SERVICE s 3").verb, SwciVerb::kWaitForService);
  EXPECT_EQ(Parsed("LIST CONTEXT ENV").verb, SwciVerb::kListContextEnv);
  EXPECT_EQ(Parsed("GET CONTEXT ENV c NAME").arguments.size(), 2U);
  EXPECT_EQ(Parsed("ASSIGN TASK a TO b WITH 2 PEERS").verb, SwciVerb::kLater);
}

TEST(SwciGrammar, CommentsAndBlankLinesAreNothing) {
  for (const std::string_view line : {"", "   ", "# LIST NODES", "  #x", "\t\r"}) {
    EXPECT_EQ(Parsed(line).verb, SwciVerb::kNothing) << line;
  }
}

TEST(SwciGrammar, SaysTheUsageWhenOnlyTheArgumentsAreWrong) {
  const Status status = ParseSwciLine("GET CONTRACT INFO").status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("usage: GET CONTRACT INFO <contract>"));
  EXPECT_THAT(std::string(ParseSwciLine("RESET CONTRACT a b").status().message()),
              HasSubstr("usage: RESET CONTRACT"));
}

TEST(SwciGrammar, RefusesWhatItDoesNotKnow) {
  EXPECT_THAT(std::string(ParseSwciLine("DANCE \x1b[2J now").status().message()),
              HasSubstr("unknown command: DANCE \\x1b"));
  EXPECT_FALSE(ParseSwciLine(std::string(5000, 'x')).ok());
  EXPECT_FALSE(ParseSwciLine("LIST NODES please").ok());
}

TEST(SwciGrammar, EveryPatternParsesItsOwnKeywords) {
  for (const SwciPattern& pattern : SwciPatterns()) {
    std::string line;
    for (const char c : pattern.text)
      line.push_back(c == '<' || c == '>' || c == '[' || c == ']' || c == '|' || c == ':' ? 'x'
                                                                                          : c);
    EXPECT_TRUE(ParseSwciLine(line).ok()) << line;
  }
}

}  // namespace
}  // namespace starling
