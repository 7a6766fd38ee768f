// The plain port of a daemon (9464): /startupz /livez /readyz /metrics over HTTP without TLS and
// without secrets. A daemon that is told what to show keeps a HealthState; one that looks when it
// is asked gives its own HealthPages.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/result.h"
#include "http/server.h"

namespace starling {

// What stands behind the paths; called on connection threads. An empty function answers 200 and
// nothing.
struct HealthPages {
  std::function<HttpResponse()> startup;
  std::function<HttpResponse()> ready;
  std::function<std::string()> metrics;  // Prometheus' text form
};
// 200 "started", or 503 "starting: <stage>".
[[nodiscard]] HttpResponse StartupPage(bool started, const std::string& stage);

// Any thread.
class HealthState {
 public:
  // /startupz answers 200 from then on.
  void set_started();
  // "ready", or what is waited for, since when and what happens next; one line of /readyz. A
  // component that was never set is not listed.
  void SetReady(const std::string& component, const std::string& detail = "");
  void SetWaiting(const std::string& component, const std::string& waiting_for);
  [[nodiscard]] bool started() const;
  // 200 and one line a component when it has started and all components are ready, else 503.
  [[nodiscard]] HttpResponse Readiness() const;
  // These pages borrow this state.
  [[nodiscard]] HealthPages Pages(std::function<std::string()> metrics) const;

 private:
  struct Component {
    bool ready = false;
    std::string text;
  };
  struct Content {
    bool started = false;
    std::map<std::string, Component> components;
  };
  Guarded<Content> content_;
};

struct HealthServerOptions {
  std::string address = "0.0.0.0";
  std::uint16_t port = 9464;  // 0: a free one
};
class HealthServer {
 public:
  static Result<std::unique_ptr<HealthServer>> Start(const HealthServerOptions& options,
                                                     HealthPages pages, Log log);
  HealthServer(const HealthServer&) = delete;
  HealthServer& operator=(const HealthServer&) = delete;
  [[nodiscard]] std::uint16_t port() const { return server_->port(); }

 private:
  HealthServer() = default;
  Router router_;  // before the server, which calls it
  std::unique_ptr<HttpServer> server_;
};

}  // namespace starling
