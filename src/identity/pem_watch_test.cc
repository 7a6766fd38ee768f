// Files that change under a running source. Its waits are real and its decisions are by a clock
// that stands still unless a test moves it, so nothing here depends on how fast a machine is.
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "identity/bundle_json.h"
#include "identity/certificate.h"
#include "identity/dev_authority.h"
#include "identity/pem_source.h"

namespace starling {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

constexpr auto kHangs = std::chrono::seconds(50);  // below the slow look of a minute

class PemWatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    authority_.emplace(Authority("ca"));
    files_ = Issue("sl", "/swarm/sl");
  }
  void TearDown() override { source_.reset(); }

  [[nodiscard]] std::string Path(const std::string& name) const { return scratch_.File(name); }
  [[nodiscard]] DevAuthority Authority(const std::string& folder,
                                       const std::string& trust_domain = "swarm.local") const {
    return DevAuthority::LoadOrCreate(Path(folder), trust_domain, clock_.UtcNow()).value();
  }
  // A new certificate in `folder`, which ends an hour later than the one before.
  PemFiles Issue(const std::string& folder, const std::string& path) {
    return authority_
        ->IssueFiles({.path = path,
                      .not_before = begin_ - std::chrono::hours(1),
                      .not_after = begin_ + std::chrono::hours(++issued_)},
                     Path(folder), "node")
        .value();
  }
  // Bytes of `from` into the file that is there, without a rename.
  static void WriteInPlace(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::trunc) << text;
  }
  static std::string Text(const std::string& path) { return ReadFile(path).value(); }

  void Start(PemWatchOptions options = {.quiet = 20ms, .retry = 20ms}) {
    options.looked = [this](const Status& status) {
      const std::scoped_lock lock(mutex_);
      ++looks_;
      bad_looks_ += status.ok() ? 0 : 1;
      if (time_passes_) clock_.Advance(1s);
      looked_.notify_all();
    };
    auto source = WatchPemFiles(files_, clock_, Log{}, std::move(options));
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = *std::move(source);
  }
  // Until `there` is true after a look.
  void Await(const std::function<bool()>& there) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(looked_.wait_for(lock, kHangs, there)) << source_->Report().trouble;
  }
  void AwaitUpdates(std::uint64_t count) {
    Await([&] { return source_->Report().updates >= count; });
  }
  void AwaitBadLooks(int more) {
    std::unique_lock lock(mutex_);
    const int before = bad_looks_;
    ASSERT_TRUE(looked_.wait_for(lock, kHangs, [&] { return bad_looks_ >= before + more; }));
  }
  // Lets time pass with each look, until what is bad is a trouble; its line.
  std::string AwaitTrouble() {
    Passing(true);
    Await([this] { return !source_->Report().trouble.ok(); });
    Passing(false);
    return ErrorLine(source_->Report().trouble, "identity");
  }
  void Passing(bool time_passes) {
    const std::scoped_lock lock(mutex_);
    time_passes_ = time_passes;
  }
  [[nodiscard]] UtcTime End() const { return source_->Current()->svid->not_after; }
  [[nodiscard]] std::size_t Roots(const std::string& domain = "swarm.local") const {
    const auto state = source_->Current();
    const auto found = state->bundles.find(domain);
    return found == state->bundles.end() ? 0 : found->second.roots.size();
  }

  const ScratchDirectory scratch_;
  ManualClock clock_;
  const UtcTime begin_ = clock_.UtcNow();
  std::optional<DevAuthority> authority_;
  int issued_ = 0;
  PemFiles files_;
  std::mutex mutex_;
  std::condition_variable looked_;
  int looks_ = 0, bad_looks_ = 0;
  bool time_passes_ = false;
  std::unique_ptr<LiveSource> source_;
};

TEST_F(PemWatchTest, FilesThatAreBadAtTheStartAreAnError) {
  fs::remove(files_.key);
  const auto source = WatchPemFiles(files_, clock_, Log{});
  ASSERT_FALSE(source.ok());
  EXPECT_THAT(ErrorLine(source.status(), "test"), HasSubstr(files_.key));
}

TEST_F(PemWatchTest, ARenewalByRenameIsTaken) {
  Start();
  const UtcTime before = End();
  Issue("sl", "/swarm/sl");
  AwaitUpdates(2);
  EXPECT_EQ(End(), before + std::chrono::hours(1));
  const SourceReport report = source_->Report();
  EXPECT_EQ(report.rotations, 2U);
  EXPECT_EQ(report.bundle_changes, 1U);
  EXPECT_TRUE(report.trouble.ok());
}

TEST_F(PemWatchTest, ARenewalInPlaceIsTaken) {
  Start();
  const UtcTime before = End();
  const PemFiles other = Issue("other", "/swarm/sl");
  WriteInPlace(files_.cert, Text(other.cert));
  WriteInPlace(files_.key, Text(other.key));
  AwaitUpdates(2);
  EXPECT_EQ(End(), before + std::chrono::hours(1));
}

TEST_F(PemWatchTest, ASwapOfKubernetesDataLinkIsTaken) {
  Issue("mount/..v1", "/swarm/sl");
  fs::create_symlink("..v1", Path("mount/..data"));
  for (const char* const name : {"node-cert.pem", "node-key.pem", "ca-cert.pem"}) {
    fs::create_symlink(std::string("..data/") + name, Path("mount/") + name);
  }
  files_ = {.cert = Path("mount/node-cert.pem"),
            .key = Path("mount/node-key.pem"),
            .cacert = Path("mount/ca-cert.pem"),
            .capath = ""};
  Start();
  UtcTime before = End();
  // Twice, since the second time the watch has to follow the first swap.
  for (const char* const version : {"..v2", "..v3"}) {
    Issue(std::string("mount/") + version, "/swarm/sl");
    fs::create_symlink(version, Path("mount/..data_tmp"));
    fs::rename(Path("mount/..data_tmp"), Path("mount/..data"));
    Await([&] { return End() != before; });
    EXPECT_EQ(End(), before + std::chrono::hours(1)) << version;
    before = End();
  }
}

TEST_F(PemWatchTest, AKeyWithoutItsCertificateIsWaitedForAndIsNoTrouble) {
  Start();
  const UtcTime before = End();
  const PemFiles other = Issue("other", "/swarm/sl");
  WriteInPlace(files_.key, Text(other.key));
  AwaitBadLooks(3);
  EXPECT_TRUE(source_->Report().trouble.ok());
  EXPECT_EQ(End(), before);
  WriteInPlace(files_.cert, Text(other.cert));
  AwaitUpdates(2);
  EXPECT_EQ(End(), before + std::chrono::hours(1));
  EXPECT_TRUE(source_->Report().trouble.ok());
}

TEST_F(PemWatchTest, AKeyThatStaysWithoutItsCertificateIsATrouble) {
  Start();
  const UtcTime before = End();
  WriteInPlace(files_.key, Text(Issue("other", "/swarm/sl").key));
  const std::string line = AwaitTrouble();
  EXPECT_THAT(line, HasSubstr(files_.key));
  EXPECT_THAT(line, HasSubstr("does not belong"));
  EXPECT_THAT(line, HasSubstr("Next: "));
  EXPECT_EQ(End(), before);
}

TEST_F(PemWatchTest, AHalfWrittenCertificateNeverReplacesTheGoodOne) {
  Start();
  const UtcTime before = End();
  const PemFiles other = Issue("other", "/swarm/sl");
  const std::string whole = Text(other.cert);
  WriteInPlace(files_.key, Text(other.key));
  WriteInPlace(files_.cert, whole.substr(0, whole.size() / 2));
  AwaitBadLooks(1);
  EXPECT_EQ(End(), before);
  EXPECT_TRUE(source_->Report().trouble.ok());
  EXPECT_THAT(AwaitTrouble(), HasSubstr(files_.cert));
  WriteInPlace(files_.cert, whole);
  AwaitUpdates(2);
  EXPECT_TRUE(source_->Report().trouble.ok());
  EXPECT_EQ(End(), before + std::chrono::hours(1));
}

TEST_F(PemWatchTest, AnExpiredRenewalIsATrouble) {
  Start();
  const UtcTime before = End();
  const PemFiles old = authority_
                           ->IssueFiles({.path = "/swarm/sl",
                                         .not_before = clock_.UtcNow() - std::chrono::hours(9),
                                         .not_after = clock_.UtcNow() - std::chrono::hours(8)},
                                        Path("sl"), "node")
                           .value();
  const std::string line = AwaitTrouble();
  EXPECT_THAT(line, HasSubstr(old.cert));
  EXPECT_THAT(line, HasSubstr("expired"));
  EXPECT_EQ(End(), before);
}

TEST_F(PemWatchTest, AnotherSpiffeIdIsTaken) {
  Start();
  Issue("sl", "/swarm/other/sl");
  AwaitUpdates(2);
  EXPECT_EQ(source_->Current()->svid->id.text(), "spiffe://swarm.local/swarm/other/sl");
}

TEST_F(PemWatchTest, CasOfAFolderComeAndGo) {
  fs::create_directory(Path("cas"));
  fs::copy_file(files_.cacert, Path("cas/own.pem"));
  files_.cacert = "";
  files_.capath = Path("cas");
  Start();
  EXPECT_EQ(Roots("partner.org"), 0U);
  const DevAuthority partner = Authority("partner", "partner.org");
  fs::copy_file(Path("partner/ca-cert.pem"), Path("cas/partner.pem"));
  Await([this] { return Roots("partner.org") == 1; });
  EXPECT_EQ(Roots(), 1U);
  fs::remove(Path("cas/partner.pem"));
  Await([this] { return Roots("partner.org") == 0; });
  // The last one that our own certificate needs stays trusted.
  fs::remove(Path("cas/own.pem"));
  EXPECT_THAT(AwaitTrouble(), HasSubstr(Path("cas")));
  EXPECT_EQ(Roots(), 1U);
}

TEST_F(PemWatchTest, ANewAuthorityIsTrustedBesideTheOld) {
  Start();
  const DevAuthority next = Authority("next");
  WriteInPlace(files_.cacert, Text(files_.cacert) + Text(Path("next/ca-cert.pem")));
  Await([this] { return Roots() == 2; });
  EXPECT_EQ(source_->Report().rotations, 1U);
}

TEST_F(PemWatchTest, APartnersBundleIsFollowed) {
  const std::string bundle = Path("partner.json");
  WriteInPlace(bundle, R"({"keys":[]})");
  files_.cacert += ",partner.org=" + bundle;
  Start();
  EXPECT_EQ(Roots("partner.org"), 0U);
  const Bundle partner = Authority("partner", "partner.org").bundle();
  WriteInPlace(bundle, BundleJson({.bundle = partner}).value());
  Await([this] { return Roots("partner.org") == 1; });
}

TEST_F(PemWatchTest, AFolderThatIsRemovedAndComesBackIsFollowed) {
  Start();
  const UtcTime before = End();
  fs::remove_all(Path("sl"));
  EXPECT_THAT(AwaitTrouble(), HasSubstr(files_.cert));
  EXPECT_EQ(End(), before);
  Issue("sl", "/swarm/sl");
  AwaitUpdates(2);
  EXPECT_EQ(End(), before + std::chrono::hours(1));
  EXPECT_TRUE(source_->Report().trouble.ok());
}

TEST_F(PemWatchTest, WithoutInotifyTheSlowLookFindsTheChange) {
  Start({.quiet = 20ms, .retry = 20ms, .slow_look = 20ms, .inotify = false});
  const UtcTime before = End();
  Issue("sl", "/swarm/sl");
  Await([&] { return End() != before; });
  // Looking at the same files again is no news.
  const int looks = [this] {
    const std::scoped_lock lock(mutex_);
    return looks_;
  }();
  Await([&] { return looks_ > looks + 3; });
  EXPECT_EQ(source_->Report().rotations, 2U);
  EXPECT_LE(source_->Report().updates, 2U);
}

TEST_F(PemWatchTest, ACertificateThatExpiresWhileTheFilesStayIsATrouble) {
  Start({.quiet = 20ms, .retry = 20ms, .slow_look = 20ms});
  clock_.Advance(std::chrono::hours(2));
  EXPECT_THAT(AwaitTrouble(), HasSubstr("expired"));
  ASSERT_NE(source_->Current()->svid, nullptr);
}

TEST_F(PemWatchTest, AnEndThatIsNearIsWarnedOfWithItsDate) {
  const std::string log_file = Path("log");
  auto source = WatchPemFiles(files_, clock_,
                              Log::ToFile("swarm.SL", LogLevel::kInfo, LogFormat::kText, log_file));
  ASSERT_TRUE(source.ok());
  EXPECT_THAT(Text(log_file), Not(HasSubstr("WARNING")));
  const UtcTime end = (*source)->Current()->svid->not_after;
  clock_.SetUtc(end - std::chrono::minutes(3));
  source = WatchPemFiles(files_, clock_,
                         Log::ToFile("swarm.SL", LogLevel::kInfo, LogFormat::kText, log_file));
  EXPECT_THAT(Text(log_file), HasSubstr("WARNING"));
  EXPECT_THAT(Text(log_file), HasSubstr("ends at " + FormatUtc(end)));
}

}  // namespace
}  // namespace starling
