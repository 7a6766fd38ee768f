#include <fstream>
#include <sstream>

#include "gtest/gtest.h"
#include "sqlite3.h"
#include "tools/source.h"
#include "tools/tools.h"
#include "tools/tools_testing.h"

namespace starling {
namespace {

class VerifyTest : public testing::Test {
 protected:
  // Exit code and everything that was printed.
  std::pair<int, std::string> Run(const std::string& directory) {
    RealClock clock;
    SystemRandom random;
    std::ostringstream text;
    std::streambuf* const out = std::cout.rdbuf(text.rdbuf());
    std::streambuf* const err = std::cerr.rdbuf(text.rdbuf());
    const int code = Verify({{directory}, false}, {clock, random, "", {}});
    std::cout.rdbuf(out);
    std::cerr.rdbuf(err);
    return {code, text.str()};
  }
  static void FlipByte(const std::string& path, std::streamoff at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char byte = static_cast<char>(file.get());
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 1));
  }
  static std::string FileIn(const std::string& folder, const std::string& prefix) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(prefix) && name.ends_with(".safetensors")) return entry.path().string();
    }
    return "";
  }
  static void Sql(const std::string& path, const std::string& sql) {
    sqlite3* raw = nullptr;
    ASSERT_EQ(sqlite3_open(path.c_str(), &raw), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(raw, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sqlite3_errmsg(raw);
    sqlite3_close(raw);
  }
};

TEST_F(VerifyTest, RepeatsEveryMergeOfAnUnalteredRun) {
  SmallTraining training("good");
  training.Play();
  const auto [code, text] = Run(training.directory);
  EXPECT_EQ(code, 0) << text;
  EXPECT_NE(text.find("3 merges repeated, 0 not"), std::string::npos) << text;
}

TEST_F(VerifyTest, NamesTheChunkOfAnAlteredUpdateOrModel) {
  for (const char* folder : {"/node-b/updates", "/node-a/models"}) {
    SmallTraining training("blob");
    training.Play();
    const std::string file = FileIn(training.directory + folder, "1-");
    FlipByte(file, (1 << 20) + 77);
    const auto [code, text] = Run(training.directory);
    EXPECT_EQ(code, 1);
    EXPECT_NE(text.find(file + ": chunk 1 of 2 differs"), std::string::npos) << text;
  }
}

TEST_F(VerifyTest, NamesTheEntryOfAnAlteredLedger) {
  const std::pair<const char*, const char*> changes[] = {
      {"entry",
       "UPDATE entries SET entry = CAST(replace(CAST(entry AS TEXT), substr(CAST(entry AS TEXT), "
       "200, 1), 'Q') AS BLOB) WHERE position = 5"},
      {"head", "UPDATE entries SET head = zeroblob(32) WHERE position = 5"},
      {"time", "UPDATE entries SET time_unix_ms = time_unix_ms + 1 WHERE position = 5"},
      {"checksum", "UPDATE entries SET checksum = zeroblob(32) WHERE position = 5"},
      {"gap", "DELETE FROM entries WHERE position = 5"}};
  for (const auto& [name, sql] : changes) {
    SmallTraining training(name);
    training.Play();
    Sql(training.directory + "/sn/ledger.db", sql);
    const auto [code, text] = Run(training.directory);
    EXPECT_EQ(code, 1) << name;
    EXPECT_NE(text.find("entry 5"), std::string::npos) << name << ": " << text;
  }
}

// Two witnesses who lie together can seal any bytes: their root proves them, not their size.
TEST_F(VerifyTest, RefusesASealedModelThatIsShorterThanTheUpdates) {
  SmallTraining training("short");
  training.lie = Bytes(100, std::byte{7});
  training.Play();
  const auto [code, text] = Run(training.directory);
  EXPECT_EQ(code, 1);
  EXPECT_NE(text.find("t round 0: the merge gives"), std::string::npos) << text;
  EXPECT_NE(text.find("the model of the round before 100"), std::string::npos) << text;
}

TEST_F(VerifyTest, SaysWhenUpdatesWereNotKept) {
  SmallTraining training("unkept");
  training.Play();
  std::filesystem::remove_all(training.directory + "/node-b/updates");
  const auto [code, text] = Run(training.directory);
  EXPECT_EQ(code, 0) << text;
  EXPECT_NE(text.find("not repeated: updates not kept"), std::string::npos) << text;
}

TEST_F(VerifyTest, RefusesADirectoryWithoutALedger) {
  EXPECT_EQ(Run(testing::TempDir() + "/nothing-here").first, 1);
}

}  // namespace
}  // namespace starling
