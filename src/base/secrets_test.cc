#include "base/secrets.h"

#include <cstdlib>
#include <deque>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gmock/gmock.h"

namespace starling {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view kFlags[] = {"join-token", "jointoken"};
constexpr std::string_view kVariables[] = {"STARLING_TEST_TOKEN"};
constexpr SecretNames kNames{kFlags, kVariables};

struct Hidden {
  std::vector<std::string> arguments, secrets;
};
Hidden Hide(std::deque<std::string> arguments) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  Hidden out;
  out.secrets = HideSecrets(pointers, kNames);
  out.arguments.assign(arguments.begin(), arguments.end());
  return out;
}

TEST(Secrets, FlagsAreFoundInAnyCaseWithOneDashOrTwo) {
  EXPECT_THAT(Hide({"sl", "-joinToken", "t-1", "--name", "a"}).arguments,
              ElementsAre("sl", "-joinToken", "***", "--name", "a"));
  EXPECT_THAT(Hide({"-JOINTOKEN=t=1"}).arguments, ElementsAre("-JOINTOKEN=***"));
  EXPECT_THAT(Hide({"--Join-Token", "t-1"}).arguments, ElementsAre("--Join-Token", "***"));
  EXPECT_THAT(Hide({"--join-token=t-1", "--jointoken", "u"}).secrets, ElementsAre("t-1", "u"));
}

TEST(Secrets, OtherArgumentsAndThoseOfTheTrainingProgramStay) {
  const std::deque<std::string> arguments = {"--join-token-file", "f", "join-token", "x", "--",
                                             "-joinToken",        "y"};
  const Hidden hidden = Hide(arguments);
  EXPECT_TRUE(std::ranges::equal(hidden.arguments, arguments));
  EXPECT_THAT(hidden.secrets, IsEmpty());
  EXPECT_THAT(Hide({"-joinToken"}).secrets, IsEmpty());
  EXPECT_THAT(Hide({"-joinToken="}).secrets, IsEmpty());
}

TEST(Secrets, VariablesAreOverwrittenAndGone) {
  // NOLINTBEGIN(concurrency-mt-unsafe): one thread
  ASSERT_EQ(setenv("STARLING_TEST_TOKEN", "t-1", 1), 0);
  const char* const value = getenv("STARLING_TEST_TOKEN");
  EXPECT_THAT(Hide({}).secrets, ElementsAre("t-1"));
  EXPECT_STREQ(value, "***");
  EXPECT_EQ(getenv("STARLING_TEST_TOKEN"), nullptr);
  // NOLINTEND(concurrency-mt-unsafe)
}

TEST(Secrets, MessagesLoseThem) {
  const std::vector<std::string> secrets = {"abcd", "x", ""};
  EXPECT_EQ(Redacted("abcdabcd fox", secrets), "…… fox");
  const Status status =
      WithNext(WithCode(absl::NotFoundError("no abcd"), "no-such-thing"), "look for another one");
  const Status redacted = Redacted(status, secrets);
  EXPECT_EQ(redacted.message(), "no …");
  EXPECT_TRUE(absl::IsNotFound(redacted));
  EXPECT_EQ(StableCode(redacted), "no-such-thing");
  EXPECT_EQ(NextStep(redacted), "look for another one");
}

TEST(Secrets, AFileHoldsOne) {
  const ScratchDirectory folder;
  const std::string path = folder.File("token");
  ASSERT_TRUE(WriteFileDurably(path, "  t-1\n").ok());
  EXPECT_EQ(*ReadSecretFile(path, "join token"), "t-1");
  ASSERT_TRUE(WriteFileDurably(path, " \n").ok());
  EXPECT_EQ(ReadSecretFile(path, "join token").status().message(), path + ": holds no join token");
  ASSERT_TRUE(WriteFileDurably(path, "secret words").ok());
  const Status two = ReadSecretFile(path, "join token").status();
  EXPECT_EQ(two.message(), path + ": holds more than one join token");
  EXPECT_TRUE(absl::IsNotFound(ReadSecretFile(folder.File("no"), "join token").status()));
}

}  // namespace
}  // namespace starling
