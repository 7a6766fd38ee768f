#include "http/health.h"

#include <string>

#include "gtest/gtest.h"
#include "http/client.h"

namespace starling {
namespace {

class HealthTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = HealthServer::Start({.address = "127.0.0.1", .port = 0},
                                       state_.Pages([] { return "starling_up 1\n"; }), Log());
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = *std::move(started);
  }
  ClientResponse Get(const std::string& target) {
    const auto response = PlainGet({"127.0.0.1", server_->port()}, target, 60s, {});
    EXPECT_TRUE(response.ok()) << response.status();
    return response.value_or(ClientResponse{});
  }

  HealthState state_;
  std::unique_ptr<HealthServer> server_;
};

TEST_F(HealthTest, IsAliveBeforeItHasStarted) {
  EXPECT_EQ(Get("/livez").status, 200);
  EXPECT_EQ(Get("/startupz").status, 503);
  EXPECT_EQ(Get("/readyz").status, 503);
  state_.set_started();
  EXPECT_EQ(Get("/startupz").status, 200);
  EXPECT_EQ(Get("/readyz").status, 200);
}

TEST_F(HealthTest, IsReadyWhenAllComponentsAre) {
  state_.set_started();
  state_.SetReady("identity", "valid until 2026-12-01");
  state_.SetWaiting("ledger", "waiting for sn-1, since 10:31:07, next: asked again in 5 s");
  const ClientResponse waiting = Get("/readyz");
  EXPECT_EQ(waiting.status, 503);
  EXPECT_EQ(waiting.body,
            "identity: ready, valid until 2026-12-01\nledger: waiting for sn-1, since 10:31:07, "
            "next: asked again in 5 s\n");
  state_.SetReady("ledger");
  EXPECT_EQ(Get("/readyz").status, 200);
}

TEST_F(HealthTest, ShowsMetricsAsPrometheusReadsThem) {
  const ClientResponse metrics = Get("/metrics");
  EXPECT_EQ(metrics.status, 200);
  EXPECT_EQ(metrics.body, "starling_up 1\n");
  EXPECT_EQ(metrics.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
}

TEST_F(HealthTest, KnowsNothingElse) {
  EXPECT_EQ(Get("/").status, 404);
  EXPECT_EQ(Get("/v1/entries").status, 404);
}

TEST_F(HealthTest, ATakenPortIsNamed) {
  const auto second =
      HealthServer::Start({.address = "127.0.0.1", .port = server_->port()}, {}, Log());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(StableCode(second.status()), "port-in-use");
  EXPECT_NE(NextStep(second.status()).find("--health-port"), std::string::npos);
}

}  // namespace
}  // namespace starling
