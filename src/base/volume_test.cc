#include "base/volume.h"

#include "base/scratch_testing.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

constexpr std::string_view kMounts =
    "612 540 0:52 / / ro,relatime master:1 - overlay overlay rw\n"
    "640 612 254:0 /var/lib/kubelet/pods/1f/volumes/kubernetes.io~empty-dir/state "
    "/var/lib/starling "
    "rw,relatime - ext4 /dev/vda rw\n"
    "641 612 254:0 /srv/pv1/state /var/lib/starling/kept rw,relatime - ext4 /dev/vda rw\n"
    "broken\n";

TEST(VolumeTest, AnEmptyDirIsKnownByWhereTheKubeletMountsItFrom) {
  EXPECT_TRUE(IsOnEmptyDir(kMounts, "/var/lib/starling"));
  EXPECT_TRUE(IsOnEmptyDir(kMounts, "/var/lib/starling/a/b"));
}

TEST(VolumeTest, TheInnermostMountCounts) {
  EXPECT_FALSE(IsOnEmptyDir(kMounts, "/var/lib/starling/kept/models"));
}

TEST(VolumeTest, OtherPlacesAreNone) {
  EXPECT_FALSE(IsOnEmptyDir(kMounts, "/var/lib/starlings"));
  EXPECT_FALSE(IsOnEmptyDir(kMounts, "/"));
  EXPECT_FALSE(IsOnEmptyDir("", "/var/lib/starling"));
}

TEST(VolumeTest, ALaterMountAtTheSamePointCoversTheEarlier) {
  const std::string covered =
      std::string(kMounts) + "700 640 254:0 /srv/pv2 /var/lib/starling rw - ext4 /dev/vda rw\n";
  EXPECT_FALSE(IsOnEmptyDir(covered, "/var/lib/starling"));
}

TEST(VolumeTest, AFolderOfThisMachineIsNone) {
  const ScratchDirectory scratch;
  EXPECT_FALSE(IsOnEmptyDir(scratch.path()));
  EXPECT_FALSE(IsOnEmptyDir(scratch.path() + "/missing"));
}

}  // namespace
}  // namespace starling
