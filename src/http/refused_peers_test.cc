#include "http/refused_peers.h"

#include "base/text.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

constexpr Instant kStart = Instant{} + 100s;

TEST(RefusedPeers, OneLineAPeerAndReasonHoweverOftenItComes) {
  RefusedPeers peers;
  peers.Add("10.0.0.3", "expired", "the certificate of c expired at 10:00; now it is 10:01",
            kStart);
  peers.Add("10.0.0.3", "expired", "the certificate of c expired at 10:00; now it is 10:02",
            kStart + 5s);
  peers.Add("10.0.0.3", "unknown-authority", "no CA held for x", kStart + 6s);
  const std::vector<RefusedPeer> all = peers.Since(kStart);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[1].why, "the certificate of c expired at 10:00");
  EXPECT_EQ(all[1].code, "expired");
  EXPECT_EQ(all[1].count, 2U);
  EXPECT_EQ(all[1].first, kStart);
  EXPECT_EQ(all[1].last, kStart + 5s);
  EXPECT_EQ(all[0].code, "unknown-authority");
}

TEST(RefusedPeers, OneThatComesNoMoreIsNotShown) {
  RefusedPeers peers;
  peers.Add("10.0.0.3", "expired", "c", kStart);
  EXPECT_EQ(peers.Since(kStart).size(), 1U);
  EXPECT_EQ(peers.Since(kStart + 1ms).size(), 0U);
}

TEST(RefusedPeers, WhatSaysNothingAboutAnIdentityIsNotKept) {
  RefusedPeers peers;
  for (const char* code : {"too-slow", "not-tls", "handshake-broken", "too-many-connections"})
    peers.Add("10.0.0.3", code, "noise", kStart);
  EXPECT_TRUE(peers.Since(kStart).empty());
}

TEST(RefusedPeers, TheOldestIsForgottenWhenThereAreTooMany) {
  RefusedPeers peers;
  const int count = static_cast<int>(RefusedPeers::kPeersMax) + 1;
  for (int i = 0; i < count; ++i) peers.Add(StrCat("10.0.0.", i), "expired", "c", kStart + i * 1s);
  const std::vector<RefusedPeer> all = peers.Since(kStart);
  EXPECT_EQ(all.size(), RefusedPeers::kPeersMax);
  for (const RefusedPeer& peer : all) EXPECT_NE(peer.host, "10.0.0.0");
}

}  // namespace
}  // namespace starling
