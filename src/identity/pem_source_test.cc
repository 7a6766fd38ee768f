#include "identity/pem_source.h"

#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "gtest/gtest.h"
#include "identity/bundle_json.h"
#include "identity/certificate.h"
#include "identity/dev_authority.h"
#include "identity/pem_files.h"
#include "identity/svid.h"

namespace starling {
namespace {

constexpr UtcTime kNow{std::chrono::milliseconds{1'700'000'000'000}};

class PemSourceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    authority_.emplace(DevAuthority::LoadOrCreate(folder_ + "/ca", "swarm.local", kNow).value());
    const auto files = authority_->IssueFiles(Request("/swarm/sl"), folder_ + "/ca", "sl");
    ASSERT_TRUE(files.ok()) << files.status();
    files_ = *files;
  }

  static DevAuthority::Request Request(const std::string& path) {
    return {.path = path,
            .not_before = kNow - std::chrono::hours(1),
            .not_after = kNow + std::chrono::hours(1)};
  }
  // The error of loading `files` in one line, "" when it works.
  static std::string Problem(const PemFiles& files, UtcTime at = kNow) {
    const auto source = LoadPemSource(files, at);
    return source.ok() ? "" : ErrorLine(source.status(), "test");
  }
  std::string WriteCa(const std::string& name, const std::vector<std::string>& uris);
  void Write(const std::string& path, const std::string& text) {
    ASSERT_TRUE(WriteFileDurably(path, text).ok());
  }

  const ScratchDirectory scratch_;
  const std::string folder_ = scratch_.path();
  std::optional<DevAuthority> authority_;
  PemFiles files_;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(PemSourceTest, LoadsWhatTheDevelopmentAuthorityWrote) {
  const auto source = LoadPemSource(files_, kNow);
  ASSERT_TRUE(source.ok()) << source.status();
  const std::shared_ptr<const IdentityState> state = (*source)->Current();
  EXPECT_EQ(state->svid->id.text(), "spiffe://swarm.local/swarm/sl");
  EXPECT_EQ(state->svid->not_after, kNow + std::chrono::hours(1));
  ASSERT_TRUE(state->bundles.contains("swarm.local"));
  EXPECT_TRUE(
      VerifyPeer({state->svid->chain[0].get()}, *state, PeerPolicy{{"swarm.local"}, {"*/sl"}}, kNow)
          .ok());
}

TEST_F(PemSourceTest, KeysAreReadableByTheirOwnerOnly) {
  for (const std::string& path : {files_.key, folder_ + "/ca/ca-key.pem"}) {
    struct stat info {};
    ASSERT_EQ(stat(path.c_str(), &info), 0) << path;
    EXPECT_EQ(info.st_mode & 0777U, 0600U) << path;
  }
}

TEST_F(PemSourceTest, TheAuthorityIsLoadedAgainAndNotMadeAnew) {
  const auto again = DevAuthority::LoadOrCreate(folder_ + "/ca", "swarm.local", kNow);
  ASSERT_TRUE(again.ok()) << again.status();
  const auto files = again->IssueFiles(Request("/swarm/sn"), folder_ + "/ca", "sn");
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(Problem({.cert = files->cert, .key = files->key, .cacert = files_.cacert}), "");
}

TEST_F(PemSourceTest, TheAuthorityOfAnotherTrustDomainIsRefused) {
  const auto other = DevAuthority::LoadOrCreate(folder_ + "/ca", "other.local", kNow);
  ASSERT_FALSE(other.ok());
  EXPECT_HAS(std::string(other.status().message()), "swarm.local");
}

TEST_F(PemSourceTest, MissingOptionsSayWhatToGive) {
  EXPECT_HAS(Problem({}), "--cert");
  EXPECT_HAS(Problem({.cert = files_.cert, .key = files_.key}), "--cacert");
}

TEST_F(PemSourceTest, AMissingFileIsNamed) {
  PemFiles files = files_;
  files.key = folder_ + "/nowhere.pem";
  EXPECT_HAS(Problem(files), "nowhere.pem");
}

TEST_F(PemSourceTest, AKeyOfAnotherCertificateIsRefused) {
  const auto other = authority_->IssueFiles(Request("/swarm/sn"), folder_ + "/ca", "sn");
  PemFiles files = files_;
  files.key = other->key;
  const std::string problem = Problem(files);
  EXPECT_HAS(problem, "sn-key.pem");
  EXPECT_HAS(problem, "does not belong");
}

TEST_F(PemSourceTest, SwappedFilesAreSaidToBeSo) {
  PemFiles files = files_;
  std::swap(files.cert, files.key);
  EXPECT_HAS(Problem(files), "no certificate in it");
}

TEST_F(PemSourceTest, ACertificateWithoutSpiffeIdIsRefused) {
  const KeyPtr key = MakeKey().value();
  const X509Ptr plain =
      MakeCertificate({.common_name = "web", .dns = {"web"}, .not_before = kNow, .not_after = kNow},
                      *key, nullptr)
          .value();
  Write(folder_ + "/web.pem", CertificatePem(*plain).value());
  Write(folder_ + "/web-key.pem", KeyPem(*key).value());
  const std::string problem = Problem(
      {.cert = folder_ + "/web.pem", .key = folder_ + "/web-key.pem", .cacert = files_.cacert});
  EXPECT_HAS(problem, "web.pem");
  EXPECT_HAS(problem, "SPIFFE ID");
}

TEST_F(PemSourceTest, AnExpiredCertificateIsRefusedAtTheStart) {
  const std::string problem = Problem(files_, kNow + std::chrono::hours(2));
  EXPECT_HAS(problem, "sl-cert.pem");
  EXPECT_HAS(problem, "expired");
  EXPECT_HAS(Problem(files_, kNow - std::chrono::hours(2)), "not-yet-valid");
}

TEST_F(PemSourceTest, ACertificateThatTheGivenCasDidNotSignIsRefused) {
  const DevAuthority other =
      DevAuthority::LoadOrCreate(folder_ + "/other", "swarm.local", kNow).value();
  PemFiles files = files_;
  files.cacert = folder_ + "/other/ca-cert.pem";
  EXPECT_HAS(Problem(files), "unknown-authority");
}

TEST_F(PemSourceTest, ANodesCertificateIsNotTakenForACa) {
  PemFiles files = files_;
  files.cacert = files_.cert;
  EXPECT_HAS(Problem(files), "not one of a certificate authority");
}

TEST_F(PemSourceTest, CasAreFiledUnderTheirOwnTrustDomain) {
  const DevAuthority partner =
      DevAuthority::LoadOrCreate(folder_ + "/partner", "partner.org", kNow).value();
  PemFiles files = files_;
  files.capath = folder_ + "/partner";  // with a key in it, which is not looked at
  std::filesystem::rename(folder_ + "/partner/ca-key.pem", folder_ + "/partner/ca-key.secret");
  const auto source = LoadPemSource(files, kNow);
  ASSERT_TRUE(source.ok()) << source.status();
  const auto state = (*source)->Current();
  EXPECT_EQ(state->bundles.at("swarm.local").roots.size(), 1U);
  ASSERT_EQ(state->bundles.at("partner.org").roots.size(), 1U);
  EXPECT_EQ(
      X509_cmp(state->bundles.at("partner.org").roots[0].get(), partner.bundle().roots[0].get()),
      0);
}

TEST_F(PemSourceTest, ACaWithoutSpiffeIdIsFiledUnderTheNodesTrustDomain) {
  const KeyPtr key = MakeKey().value();
  const X509Ptr ca = MakeCertificate({.common_name = "house CA",
                                      .is_ca = true,
                                      .key_usage = "critical,keyCertSign",
                                      .not_before = kNow,
                                      .not_after = kNow + std::chrono::hours(1)},
                                     *key, nullptr)
                         .value();
  Write(folder_ + "/both.pem", CertificatePem(*ca).value() + ReadFile(files_.cacert).value());
  PemFiles files = files_;
  files.cacert = folder_ + "/both.pem";
  const auto source = LoadPemSource(files, kNow);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->Current()->bundles.at("swarm.local").roots.size(), 2U);
}

// A CA of `uris` in a file of this name; its path.
std::string PemSourceTest::WriteCa(const std::string& name, const std::vector<std::string>& uris) {
  const KeyPtr key = MakeKey().value();
  const X509Ptr ca = MakeCertificate({.common_name = "house CA",
                                      .uris = uris,
                                      .is_ca = true,
                                      .key_usage = "critical,keyCertSign",
                                      .not_before = kNow,
                                      .not_after = kNow + std::chrono::hours(1)},
                                     *key, nullptr)
                         .value();
  Write(folder_ + "/" + name, CertificatePem(*ca).value());
  return folder_ + "/" + name;
}

TEST_F(PemSourceTest, ANamedTrustDomainTakesTheCasOfItsFile) {
  const std::string plain = WriteCa("plain.pem", {});
  const std::string house = WriteCa("house.pem", {"https://pki.partner.org"});
  PemFiles files = files_;
  files.cacert += ",partner.org=" + plain + ",other.org=" + house;
  const auto source = LoadPemSource(files, kNow);
  ASSERT_TRUE(source.ok()) << source.status();
  const auto state = (*source)->Current();
  EXPECT_EQ(state->bundles.at("swarm.local").roots.size(), 1U);
  EXPECT_EQ(state->bundles.at("partner.org").roots.size(), 1U);
  EXPECT_EQ(state->bundles.at("other.org").roots.size(), 1U);
}

TEST_F(PemSourceTest, ACaOfAnotherTrustDomainThanNamedIsRefused) {
  const std::string other = WriteCa("other.pem", {"spiffe://other.org"});
  PemFiles files = files_;
  files.cacert += ",partner.org=" + other;
  const std::string problem = Problem(files);
  EXPECT_HAS(problem, "other.pem");
  EXPECT_HAS(problem, "given for partner.org");
}

TEST_F(PemSourceTest, ANameThatIsNoTrustDomainIsPartOfTheFilesName) {
  EXPECT_EQ(CaFilesIn("A=b.pem").at(0).path, "A=b.pem");
  EXPECT_EQ(CaFilesIn("./a=b.pem").at(0).path, "./a=b.pem");
  EXPECT_EQ(CaFilesIn("a=b=c").at(0).path, "b=c");
  EXPECT_EQ(CaFilesIn("a=b=c").at(0).trust_domain, "a");
  EXPECT_EQ(CaFilesIn(",x,,y,").size(), 2U);
  EXPECT_TRUE(CaFilesIn("").empty());
}

TEST_F(PemSourceTest, ASpiffeBundleIsOfTheTrustDomainNamed) {
  const std::string path = folder_ + "/bundle";
  Write(path, " " + BundleJson({.bundle = authority_->bundle()}).value());
  PemFiles files = files_;
  files.cacert = path;
  EXPECT_HAS(Problem(files), "trust.domain=" + path);
  files.cacert = "swarm.local=" + path;
  EXPECT_EQ(Problem(files), "");
}

TEST_F(PemSourceTest, ASpiffeBundleInTheFolderIsNamedAfterItsTrustDomain) {
  std::filesystem::create_directory(folder_ + "/cas");
  Write(folder_ + "/cas/partner.org.json", R"({"keys":[]})");
  PemFiles files = files_;
  files.capath = folder_ + "/cas";
  const auto source = LoadPemSource(files, kNow);
  ASSERT_TRUE(source.ok()) << source.status();
  // Known, and nobody of it is believed.
  EXPECT_TRUE((*source)->Current()->bundles.at("partner.org").roots.empty());
  Write(folder_ + "/cas/Partner.json", R"({"keys":[]})");
  EXPECT_HAS(Problem(files), "Partner.json");
  std::filesystem::remove(folder_ + "/cas/Partner.json");
  Write(folder_ + "/cas/partner.org.json", R"({"keys":)");
  EXPECT_HAS(Problem(files), "partner.org.json");
}

TEST_F(PemSourceTest, AnEmptyFolderOfCasIsAnError) {
  std::filesystem::create_directory(folder_ + "/empty");
  PemFiles files = files_;
  files.capath = folder_ + "/empty";
  EXPECT_HAS(Problem(files), "no CA certificates");
}

}  // namespace
}  // namespace starling
