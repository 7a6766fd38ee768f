#include "sl/home.h"

#include "base/fs.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sl/sl_testing.h"

namespace starling {
namespace {

using ::testing::HasSubstr;

TEST(HomeTest, IsReadBackAfterARestart) {
  const ScratchDirectory scratch;
  ASSERT_TRUE(ReadHome(scratch.path()).ok());
  EXPECT_FALSE(ReadHome(scratch.path())->has_value());
  Home home{ContractName{"t"}, Position{7}, 3, {}};
  home.stated.min_peers = 2;
  home.stated.size = 1234;
  ASSERT_TRUE(WriteHome(scratch.path(), home).ok());
  const auto back = ReadHome(scratch.path());
  ASSERT_TRUE(back.ok() && back->has_value()) << back.status();
  EXPECT_EQ((*back)->contract, home.contract);
  EXPECT_EQ((*back)->instance, home.instance);
  EXPECT_EQ((*back)->weight, 3U);
  EXPECT_EQ((*back)->stated.min_peers, 2U);
  EXPECT_EQ((*back)->stated.size, 1234U);
  ASSERT_TRUE(RemoveHome(scratch.path()).ok());
  ASSERT_TRUE(RemoveHome(scratch.path()).ok());
  EXPECT_FALSE(ReadHome(scratch.path())->has_value());
}

TEST(HomeTest, AnAlteredFileIsRefusedWithTheNextStep) {
  const ScratchDirectory scratch;
  for (const char* text : {"", "[]", "{}", "{\"contract\":\"t\",\"instance\":-1}"}) {
    ASSERT_TRUE(WriteFileDurably(scratch.path() + "/home.json", text).ok());
    const auto home = ReadHome(scratch.path());
    EXPECT_EQ(StableCode(home.status()), "state-altered") << text;
    EXPECT_THAT(NextStep(home.status()), HasSubstr("remove this file"));
  }
}

}  // namespace
}  // namespace starling
