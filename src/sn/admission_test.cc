#include "sn/admission.h"

#include "gtest/gtest.h"
#include "sn/sn_testing.h"

namespace starling {
namespace {

TEST(ParsePlace, ReadsWhatRequestsShow) {
  const Digest head = TestDigest("x");
  const Result<Place> place = ParsePlace("17:" + HexOf(head));
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(*place, (Place{Position(17), head}));
  EXPECT_TRUE(ParsePlace("-1:" + HexOf(Digest{})).ok());
}

TEST(ParsePlace, RefusesEverythingElse) {
  const std::string head = HexOf(Digest{});
  for (const std::string& text :
       {std::string(), std::string(":"), ":" + head, "1" + head, "1:" + head + "0", "-2:" + head,
        "1x:" + head, "99999999999999999999:" + head, "1:" + head.substr(1), " 1:" + head}) {
    EXPECT_FALSE(ParsePlace(text).ok()) << text;
  }
}

TEST(OpenRules, LeaveWhatNodesStateOpenAndKeepTheOperatorsLimits) {
  Contract previous;
  previous.rules = StatedRules();
  previous.rules.weight_max = 7;
  previous.rules.members[NodeName("a")] = TestKey(1).public_key();
  previous.rules.initial = TestDigest("an old model");
  const Rules rules = OpenRules(&previous);
  EXPECT_FALSE(rules.min_peers || rules.merge || rules.schema || rules.size || rules.sync_interval);
  EXPECT_EQ(rules.weight_max, 7U);
  EXPECT_EQ(rules.members, previous.rules.members);
  EXPECT_TRUE(std::holds_alternative<InitialLeader>(rules.initial));
  EXPECT_EQ(OpenRules(nullptr), Rules{});
}

}  // namespace
}  // namespace starling
