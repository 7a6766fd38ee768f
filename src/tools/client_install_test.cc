#include "tools/client_install.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>

#include "base/fs.h"
#include "base/owned.h"
#include "base/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ClientInstall : public ::testing::Test {
 protected:
  ClientInstall()
      : root_(StrCat(testing::TempDir(), "starling_client_", getpid(), "_",
                     testing::UnitTest::GetInstance()->current_test_info()->name())) {
    fs::remove_all(root_);
    Put("from/starling/__init__.py", "import numpy\n");
    Put("from/starling/_version.py", "VERSION = \"7.8.9\"\n");
    Put("from/starling/__pycache__/x.pyc", "old");
    Put("from/swarmlearning/__init__.py", "");
    Put("from/swarmlearning/client/swarm.py", "x = 1\n");
    Put("from/notes/readme", "no package");
  }
  ~ClientInstall() override { fs::remove_all(root_); }
  ClientInstall(const ClientInstall&) = delete;
  ClientInstall& operator=(const ClientInstall&) = delete;

  void Put(const std::string& path, std::string_view content) const {
    fs::create_directories(fs::path(root_ / path).parent_path());
    EXPECT_TRUE(WriteFileDurably((root_ / path).string(), content).ok());
  }
  [[nodiscard]] std::string Read(const std::string& path) const {
    return ReadFile((root_ / path).string()).value_or("missing");
  }
  [[nodiscard]] Result<std::string> Install() const {
    return InstallClient({(root_ / "to").string(), (root_ / "from").string()});
  }
  [[nodiscard]] std::vector<std::string> FilesBelow(const std::string& path) const {
    std::vector<std::string> out;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root_ / path)) {
      if (!entry.is_directory()) out.push_back(fs::relative(entry, root_ / path).string());
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  fs::path root_;
};

TEST_F(ClientInstall, CopiesThePackagesAndTellsVersionAndPath) {
  const Result<std::string> line = Install();

  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(*line, StrCat("client 7.8.9 installed: starling, swarmlearning; PYTHONPATH=",
                          (root_ / "to").string()));
  EXPECT_THAT(FilesBelow("to"),
              ElementsAre("starling/.starling-client", "starling/__init__.py",
                          "starling/_version.py", "swarmlearning/.starling-client",
                          "swarmlearning/__init__.py", "swarmlearning/client/swarm.py"));
  EXPECT_EQ(Read("to/starling/.starling-client"), "7.8.9\n");
  EXPECT_EQ(Read("to/swarmlearning/client/swarm.py"), "x = 1\n");
}

TEST_F(ClientInstall, ASecondTimeReplacesWhatWasThereAndKeepsTheRest) {
  Put("to/mine/data", "kept");
  ASSERT_TRUE(Install().ok());
  Put("to/starling/of_an_older_version.py", "");

  const Result<std::string> again = Install();

  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Read("to/starling/of_an_older_version.py"), "missing");
  EXPECT_EQ(Read("to/mine/data"), "kept");
  EXPECT_THAT(FilesBelow("to/starling"),
              ElementsAre(".starling-client", "__init__.py", "_version.py"));
}

TEST_F(ClientInstall, AFolderThatNoInstallMadeStaysAsItIs) {
  Put("from/examples/train.py", "ours\n");
  const std::string packages[] = {"examples", "starling", "swarmlearning"};
  for (const std::string& package : packages) {
    Put(StrCat("to/", package, "/mine.py"), "theirs");

    const Status refused = Install().status();

    EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists);
    EXPECT_EQ(StableCode(refused), "not-ours");
    EXPECT_THAT(refused.message(), HasSubstr(StrCat("to/", package, " is there")));
    EXPECT_FALSE(NextStep(refused).empty());
    EXPECT_THAT(FilesBelow("to"), ElementsAre(StrCat(package, "/mine.py")));
    fs::remove_all(root_ / "to");
  }
  Put("elsewhere/mine.py", "theirs");
  fs::create_directories(root_ / "to/swarmlearning");  // empty
  fs::create_directory_symlink(root_ / "elsewhere", root_ / "to/starling");
  EXPECT_EQ(StableCode(Install().status()), "not-ours");
  fs::remove(root_ / "to/starling");
  EXPECT_TRUE(Install().ok());
  EXPECT_EQ(Read("elsewhere/mine.py"), "theirs");
}

TEST_F(ClientInstall, WhatAKilledInstallLeftIsNotTakenForAPackage) {
  Put("to/.starling.new/half.py", "half");
  Put("to/.starling.old/half.py", "half");

  ASSERT_TRUE(Install().ok());

  EXPECT_THAT(FilesBelow("to/starling"),
              ElementsAre(".starling-client", "__init__.py", "_version.py"));
  EXPECT_FALSE(fs::exists(root_ / "to/.starling.new"));
  EXPECT_FALSE(fs::exists(root_ / "to/.starling.old"));
}

TEST_F(ClientInstall, AFailureLeavesTheOldPackageWhole) {
  ASSERT_TRUE(Install().ok());
  Put("from/starling/_version.py", "VERSION = \"8\"\n");
  fs::create_symlink("/etc", root_ / "from/starling/zz_leads_out");

  const Result<std::string> line = Install();

  EXPECT_EQ(StableCode(line.status()), "no-client");
  EXPECT_THAT(line.status().message(), HasSubstr("zz_leads_out"));
  EXPECT_EQ(Read("to/starling/_version.py"), "VERSION = \"7.8.9\"\n");
  EXPECT_THAT(FilesBelow("to/starling"),
              ElementsAre(".starling-client", "__init__.py", "_version.py"));
}

TEST_F(ClientInstall, WithoutTheClientItSaysWhatToDo) {
  fs::remove_all(root_ / "from/starling");
  EXPECT_THAT(ErrorLine(Install().status(), "x"), HasSubstr("--from"));
  fs::remove_all(root_ / "from");
  EXPECT_THAT(ErrorLine(Install().status(), "x"), HasSubstr("--from"));
  EXPECT_FALSE(fs::exists(root_ / "to"));
}

TEST_F(ClientInstall, AFolderThatCannotBeMadeIsAnErrorWithANextStep) {
  Put("to", "a file");
  const Result<std::string> line = Install();
  ASSERT_FALSE(line.ok());
  EXPECT_FALSE(NextStep(line.status()).empty());
}

TEST_F(ClientInstall, TwoAtOnceAreRefused) {
  fs::create_directories(root_ / "to");
  const UniqueFd other(open((root_ / "to").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(flock(other.get(), LOCK_EX), 0);

  EXPECT_EQ(StableCode(Install().status()), "busy");
  EXPECT_THAT(FilesBelow("to"), ElementsAre());
}

TEST_F(ClientInstall, ExamplesComeWithIt) {
  Put("from/examples/mnist/train.py", "import starling\n");

  ASSERT_TRUE(Install().ok());

  EXPECT_EQ(Read("to/examples/mnist/train.py"), "import starling\n");
}

}  // namespace
}  // namespace starling
