#include "identity/spiffe_state.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "identity/certificate_testing.h"

namespace starling {
namespace {

using testing::Ca;
using testing::Der;
using testing::Fields;
using testing::kBegin;
using testing::kEnd;
using testing::KeyDer;
using testing::kNow;
using testing::LeafSpec;

#define EXPECT_HAS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)

const SvidChoice kLearner{.paths = {"/swarm/sl", "*/sl"}, .hint = ""};

Result<WorkloadIdentity> Read(std::vector<SvidFields> svids,
                              std::map<std::string, std::string> federated = {},
                              const SvidChoice& choice = kLearner, UtcTime at = kNow) {
  return ReadWorkloadState({std::move(svids), std::move(federated)}, choice, at);
}

// The code of refusing `fields`, which is all that there is; "taken" when it is taken.
std::string CodeOf(const SvidFields& fields) {
  const Result<WorkloadIdentity> read = Read({fields});
  if (!read.ok()) return StableCode(read.status());
  if (read->state->svid != nullptr) return read->trouble.ok() ? "taken" : "taken, with trouble";
  return "without SVID: " + StableCode(read->trouble);
}

std::string IdOf(const Result<WorkloadIdentity>& read) {
  if (!read.ok()) return std::string(read.status().message());
  return read->state->svid == nullptr ? "none" : read->state->svid->id.text();
}

TEST(SpiffeStateTest, AGoodSvidIsTakenWithItsBundle) {
  const Ca ca("a");
  const SvidFields fields = Fields(ca);
  const auto read = Read({fields});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->trouble.ok()) << read->trouble;
  EXPECT_EQ(read->left_out, "");
  const Svid& svid = *read->state->svid;
  EXPECT_EQ(svid.id.text(), "spiffe://a/swarm/sl");
  EXPECT_EQ(svid.not_before, kBegin);
  EXPECT_EQ(svid.not_after, kEnd);
  ASSERT_EQ(svid.chain.size(), 1U);
  EXPECT_EQ(Der(*svid.chain[0]), fields.chain);
  EXPECT_EQ(KeyDer(*svid.key), fields.key);
  ASSERT_EQ(read->state->bundles.size(), 1U);
  EXPECT_EQ(Der(*read->state->bundles.at("a").roots.at(0)), Der(*ca.certificate));
}

TEST(SpiffeStateTest, AnIntermediateAuthorityIsKeptAndItsEndCounts) {
  const Ca root("a");
  const Ca middle("a", &root);
  CertificateSpec spec = LeafSpec();
  spec.not_after = kEnd + std::chrono::hours(1);
  SvidFields fields = Fields(middle, spec);
  fields.chain += Der(*middle.certificate);
  fields.bundle = Der(*root.certificate);
  const auto read = Read({fields});
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->state->svid->chain.size(), 2U);
  EXPECT_EQ(read->state->svid->not_after, kEnd);
}

TEST(SpiffeStateTest, EveryRuleOfAnSvidIsCheckedOnOurOwn) {
  const Ca ca("a");
  const SvidFields good = Fields(ca);
  EXPECT_EQ(CodeOf(good), "taken");
  struct Row {
    std::string what;
    SvidFields fields;
    std::string code;
  };
  std::vector<Row> rows;
  const auto with = [&](const std::string& what, auto&& change, const std::string& code) {
    SvidFields fields = good;
    change(fields);
    rows.push_back({what, fields, code});
  };
  const auto issued = [&](const std::string& what, auto&& change) {
    CertificateSpec spec = LeafSpec();
    change(spec);
    SvidFields fields = Fields(ca, spec);
    fields.id = "spiffe://a/swarm/sl";
    rows.push_back({what, fields, "bad-svid"});
  };
  issued("no URI", [](CertificateSpec& s) { s.uris = {}; });
  issued("two URIs", [](CertificateSpec& s) { s.uris = {"spiffe://a/swarm/sl", "https://a"}; });
  issued("another ID", [](CertificateSpec& s) { s.uris = {"spiffe://a/other/sl"}; });
  issued("a CA", [](CertificateSpec& s) { s.is_ca = true; });
  issued("no usage", [](CertificateSpec& s) { s.key_usage = ""; });
  issued("no signatures", [](CertificateSpec& s) { s.key_usage = "critical,keyAgreement"; });
  issued("signs certificates",
         [](CertificateSpec& s) { s.key_usage = "critical,digitalSignature,keyCertSign"; });
  issued("signs lists",
         [](CertificateSpec& s) { s.key_usage = "critical,digitalSignature,cRLSign"; });
  with(
      "no chain", [](SvidFields& f) { f.chain = ""; }, "bad-svid");
  with(
      "garbage chain", [](SvidFields& f) { f.chain = "garbage"; }, "bad-svid");
  with(
      "cut chain", [](SvidFields& f) { f.chain.pop_back(); }, "bad-svid");
  with(
      "a byte behind the chain", [](SvidFields& f) { f.chain += '\0'; }, "bad-svid");
  with(
      "eleven certificates",
      [](SvidFields& f) {
        const std::string one = f.chain;
        for (int i = 0; i < 10; ++i) f.chain += one;
      },
      "bad-svid");
  with(
      "no key", [](SvidFields& f) { f.key = ""; }, "bad-svid");
  with(
      "a byte behind the key", [](SvidFields& f) { f.key += '\0'; }, "bad-svid");
  with(
      "cut key", [](SvidFields& f) { f.key.pop_back(); }, "bad-svid");
  with(
      "another's key", [&](SvidFields& f) { f.key = Fields(ca).key; }, "bad-svid");
  with(
      "garbage bundle", [](SvidFields& f) { f.bundle = "garbage"; }, "bad-svid");
  with(
      "a byte behind the bundle", [](SvidFields& f) { f.bundle += 'x'; }, "bad-svid");
  with(
      "another CA", [](SvidFields& f) { f.bundle = Der(*Ca("a").certificate); },
      "without SVID: unknown-authority");
  with(
      "empty bundle", [](SvidFields& f) { f.bundle = ""; }, "taken, with trouble");
  for (const Row& row : rows) EXPECT_EQ(CodeOf(row.fields), row.code) << row.what;
}

TEST(SpiffeStateTest, AnIdThatIsNoneIsRefused) {
  const Ca ca("a");
  for (const std::string id : {"", "spiffe://A/swarm/sl", "https://a/swarm/sl", "spiffe://a"}) {
    SvidFields fields = Fields(ca, LeafSpec({id.empty() ? "x" : id}));
    fields.id = id;
    const auto read = Read({fields}, {}, SvidChoice{});
    EXPECT_EQ(StableCode(read.status()), "bad-svid") << id;
  }
}

TEST(SpiffeStateTest, NoSvidAtAllIsAStateWithoutOne) {
  const Ca partner("b");
  const auto read = Read({}, {{"b", Der(*partner.certificate)}});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->trouble.ok()) << read->trouble;
  EXPECT_EQ(read->state->svid, nullptr);
  EXPECT_TRUE(read->state->bundles.contains("b"));
}

TEST(SpiffeStateTest, TheFirstIdOfAFittingPathIsChosen) {
  const Ca ca("a");
  const std::vector<SvidFields> svids = {Fields(ca, LeafSpec({"spiffe://a/default"})),
                                         Fields(ca, LeafSpec({"spiffe://a/one/sl"}), "x"),
                                         Fields(ca, LeafSpec({"spiffe://a/swarm/sl"}), "y")};
  EXPECT_EQ(IdOf(Read(svids)), "spiffe://a/one/sl");
  EXPECT_EQ(IdOf(Read(svids, {}, {.paths = {"/swarm/sl"}, .hint = ""})), "spiffe://a/swarm/sl");
  EXPECT_EQ(IdOf(Read(svids, {}, {})), "spiffe://a/default");
}

TEST(SpiffeStateTest, AHintGoesBeforeThePath) {
  const Ca ca("a");
  const std::vector<SvidFields> svids = {Fields(ca, LeafSpec(), "internal"),
                                         Fields(ca, LeafSpec({"spiffe://a/elsewhere"}), "external"),
                                         Fields(ca, LeafSpec({"spiffe://a/last"}), "external")};
  EXPECT_EQ(IdOf(Read(svids, {}, {.paths = {"*/sl"}, .hint = "external"})), "spiffe://a/elsewhere");
}

TEST(SpiffeStateTest, WhereNoneFitsTheIdsThatThereWereAreListed) {
  const Ca ca("a");
  const auto read = Read(
      {Fields(ca, LeafSpec({"spiffe://a/one"}), "h1"), Fields(ca, LeafSpec({"spiffe://a/two"}))});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->state->svid, nullptr);
  EXPECT_TRUE(read->state->bundles.contains("a"));
  const std::string line = ErrorLine(read->trouble, "identity");
  for (const char* const part :
       {"no-matching-svid", "spiffe://a/one (hint h1)", "spiffe://a/two", "*/sl"}) {
    EXPECT_HAS(line, part);
  }
  EXPECT_NE(NextStep(read->trouble), "");
  const auto by_hint = Read({Fields(ca)}, {}, {.paths = {}, .hint = "missing"});
  EXPECT_EQ(IdOf(by_hint), "none");
  EXPECT_HAS(by_hint->trouble.message(), "missing");
}

TEST(SpiffeStateTest, ABadSvidBesideAGoodOneHurtsNothing) {
  const Ca ca("a");
  SvidFields garbage = Fields(ca, LeafSpec({"spiffe://a/first/sl"}));
  garbage.chain = "garbage";
  SvidFields unbelieved = Fields(ca, LeafSpec({"spiffe://a/second/sl"}));
  unbelieved.bundle = Der(*Ca("a").certificate);
  SvidFields nameless = Fields(ca);
  nameless.id = "\x01";
  const auto read = Read({nameless, garbage, unbelieved, Fields(ca)});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(IdOf(read), "spiffe://a/swarm/sl");
  EXPECT_TRUE(read->trouble.ok()) << read->trouble;
  EXPECT_HAS(read->left_out, "spiffe://a/first/sl");
  EXPECT_HAS(read->left_out, "spiffe://a/second/sl");
  EXPECT_EQ(Der(*read->state->bundles.at("a").roots.at(0)), Der(*ca.certificate));
}

TEST(SpiffeStateTest, AnExpiredSvidIsTakenOnlyWhereThereIsNoBetter) {
  const Ca ca("a");
  CertificateSpec old = LeafSpec({"spiffe://a/old/sl"});
  old.not_after = kNow - std::chrono::minutes(1);
  const auto alone = Read({Fields(ca, old)});
  ASSERT_EQ(IdOf(alone), "spiffe://a/old/sl");
  EXPECT_EQ(alone->state->svid->not_after, old.not_after);
  EXPECT_EQ(IdOf(Read({Fields(ca, old), Fields(ca)})), "spiffe://a/swarm/sl");
  CertificateSpec early = LeafSpec({"spiffe://a/early/sl"});
  early.not_before = kNow + std::chrono::minutes(1);
  EXPECT_EQ(IdOf(Read({Fields(ca, early)})), "spiffe://a/early/sl");
  EXPECT_EQ(IdOf(Read({Fields(ca, early), Fields(ca)})), "spiffe://a/swarm/sl");
}

TEST(SpiffeStateTest, AnExpiredSvidIsStillCheckedForTheRest) {
  CertificateSpec old = LeafSpec();
  old.not_after = kNow - std::chrono::minutes(1);
  SvidFields fields = Fields(Ca("a"), old);
  fields.bundle = Der(*Ca("a").certificate);
  EXPECT_EQ(CodeOf(fields), "without SVID: unknown-authority");
}

// A CA that is revoked while our SVID is still one of its: it must not be trusted any longer.
TEST(SpiffeStateTest, BundlesCountWhereOurSvidIsNotBelieved) {
  const Ca revoked("a"), next("a");
  SvidFields fields = Fields(revoked);
  fields.bundle = Der(*next.certificate);
  const auto read = Read({fields});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->state->svid, nullptr);
  ASSERT_EQ(read->state->bundles.at("a").roots.size(), 1U);
  EXPECT_EQ(Der(*read->state->bundles.at("a").roots[0]), Der(*next.certificate));
}

TEST(SpiffeStateTest, AnEmptyBundleTrustsNothing) {
  const Ca ca("a");
  SvidFields fields = Fields(ca);
  fields.bundle = "";
  const auto read = Read({fields}, {{"b", ""}});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(StableCode(read->trouble), "empty-bundle");
  EXPECT_TRUE(read->state->bundles.at("a").roots.empty());
  EXPECT_TRUE(read->state->bundles.at("b").roots.empty());
  const X509Ptr leaf = ca.Leaf(LeafSpec());
  EXPECT_FALSE(VerifyPeer({leaf.get()}, *read->state, PeerPolicy{{}, {"*"}}, kNow).ok());
}

TEST(SpiffeStateTest, FederatedBundlesGoByTheirTrustDomain) {
  const Ca ca("a"), b("b"), c("c"), c2("c");
  const auto read = Read({Fields(ca)}, {{"spiffe://b", Der(*b.certificate)},
                                        {"c", Der(*c.certificate) + Der(*c2.certificate)}});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->left_out, "");
  ASSERT_EQ(read->state->bundles.size(), 3U);
  EXPECT_EQ(Der(*read->state->bundles.at("b").roots.at(0)), Der(*b.certificate));
  EXPECT_EQ(read->state->bundles.at("c").roots.size(), 2U);
}

TEST(SpiffeStateTest, ABrokenFederatedBundleTrustsNothingAndHurtsNothingElse) {
  const Ca ca("a"), b("b");
  const auto read = Read({Fields(ca)}, {{"b", Der(*b.certificate)},
                                        {"broken", Der(*b.certificate) + "x"},
                                        {"spiffe://d/path", Der(*b.certificate)},
                                        {"E", Der(*b.certificate)},
                                        {"spiffe://", Der(*b.certificate)}});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(IdOf(read), "spiffe://a/swarm/sl");
  EXPECT_EQ(read->state->bundles.size(), 2U);
  EXPECT_TRUE(read->state->bundles.contains("b"));
  for (const char* const part : {"broken", "spiffe://d/path", "federated bundle E"}) {
    EXPECT_HAS(read->left_out, part);
  }
}

TEST(SpiffeStateTest, AFederatedBundleAddsNothingToOurOwnTrustDomain) {
  const Ca ours("a"), other("a");
  const auto read = Read({Fields(ours)},
                         {{"a", Der(*other.certificate)}, {"spiffe://a", Der(*other.certificate)}});
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->state->bundles.at("a").roots.size(), 1U);
  EXPECT_EQ(Der(*read->state->bundles.at("a").roots[0]), Der(*ours.certificate));
  EXPECT_HAS(read->left_out, "another bundle");
}

TEST(SpiffeStateTest, SvidsOfOtherTrustDomainsBringTheirBundles) {
  const Ca a("a"), b("b");
  const auto read = Read({Fields(b, LeafSpec({"spiffe://b/else"})), Fields(a)});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(IdOf(read), "spiffe://a/swarm/sl");
  EXPECT_EQ(Der(*read->state->bundles.at("b").roots.at(0)), Der(*b.certificate));
}

TEST(SpiffeStateTest, EverythingIsBounded) {
  const Ca ca("a");
  const SvidFields good = Fields(ca);
  EXPECT_EQ(StableCode(Read(std::vector<SvidFields>(257, good)).status()), "too-large");
  EXPECT_TRUE(Read(std::vector<SvidFields>(256, good)).ok());
  std::map<std::string, std::string> federated;
  for (int i = 0; i < 1001; ++i) federated[std::to_string(i)] = "";
  EXPECT_EQ(StableCode(Read({good}, federated).status()), "too-large");
  EXPECT_EQ(StableCode(Read({good}, {{"b", std::string(std::size_t{4} << 20, 'x')}}).status()),
            "too-large");
  std::string roots;
  for (int i = 0; i < 1001; ++i) roots += good.bundle;
  const auto read = Read({good}, {{"b", roots}});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->state->bundles.contains("b"));
  EXPECT_HAS(read->left_out, "more than 1000");
}

}  // namespace
}  // namespace starling
