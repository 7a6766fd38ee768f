#include "sl/source_fault.h"

#include "base/result.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

std::vector<std::pair<std::string, StallWhy>> Named(const Status& status) {
  std::vector<std::pair<std::string, StallWhy>> named;
  for (const SourceFailure& failure : SourceFailuresOf(status))
    named.emplace_back(failure.node.value(), failure.why);
  return named;
}
using Pairs = std::vector<std::pair<std::string, StallWhy>>;

TEST(SourceFaultTest, WhyFollowsTheError) {
  const NodeName b("b");
  EXPECT_EQ(Named(WithSource(absl::DeadlineExceededError("x"), b)),
            (Pairs{{"b", StallWhy::kSilent}}));
  EXPECT_EQ(Named(WithSource(absl::UnavailableError("x"), b)), (Pairs{{"b", StallWhy::kRefused}}));
  EXPECT_EQ(Named(WithSource(absl::PermissionDeniedError("x"), b)),
            (Pairs{{"b", StallWhy::kRefused}}));
  EXPECT_EQ(Named(WithSource(absl::DataLossError("x"), b)), (Pairs{{"b", StallWhy::kWrongBytes}}));
  EXPECT_EQ(Named(WithSource(WithCode(absl::DataLossError("x"), "wrong-merge"), b)),
            (Pairs{{"b", StallWhy::kRoot}}));
}

TEST(SourceFaultTest, TheFirstWhoIsNamedStays) {
  const Status inner = WithSource(absl::UnavailableError("x"), NodeName("b"));
  const Status outer = WithSource(Annotate(inner, "the merge"), NodeName("c"));
  EXPECT_EQ(Named(outer), (Pairs{{"b", StallWhy::kRefused}}));
}

TEST(SourceFaultTest, NobodyIsNamedWhereNothingFailedOrItWasGivenUp) {
  EXPECT_TRUE(SourceFailuresOf(WithSource(absl::OkStatus(), NodeName("b"))).empty());
  EXPECT_TRUE(SourceFailuresOf(WithSource(absl::CancelledError("x"), NodeName("b"))).empty());
  EXPECT_TRUE(SourceFailuresOf(absl::UnavailableError("this disk")).empty());
}

TEST(SourceFaultTest, AllAreNamedTogether) {
  const Status all = WithAllSources({WithSource(absl::UnavailableError("x"), NodeName("b")),
                                     absl::UnavailableError("nobody"),
                                     WithSource(absl::DeadlineExceededError("y"), NodeName("c"))});
  EXPECT_EQ(Named(all), (Pairs{{"b", StallWhy::kRefused}, {"c", StallWhy::kSilent}}));
}

TEST(SourceFaultTest, WhoHasNoCertificateItselfBlamesNobody) {
  const Status own = WithCode(absl::UnavailableError("no certificate"), "no-identity");
  EXPECT_TRUE(SourceFailuresOf(WithSource(own, NodeName("b"))).empty());
  const Status theirs = WithCode(absl::UnavailableError("it has none"), "peer-no-identity");
  ASSERT_EQ(SourceFailuresOf(WithSource(theirs, NodeName("b"))).size(), 1U);
}

}  // namespace
}  // namespace starling
