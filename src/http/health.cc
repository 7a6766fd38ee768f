#include "http/health.h"

#include <utility>

#include "base/bytes.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::size_t kConnectionsMax = 32;
constexpr std::size_t kLineBytesMax = 2000;

}  // namespace

void HealthState::set_started() {
  content_.With([](Content& content) { content.started = true; });
}

void HealthState::SetReady(const std::string& component, const std::string& detail) {
  content_.With([&](Content& content) {
    content.components[component] = {true, detail.empty() ? "ready" : StrCat("ready, ", detail)};
  });
}

void HealthState::SetWaiting(const std::string& component, const std::string& waiting_for) {
  content_.With([&](Content& content) { content.components[component] = {false, waiting_for}; });
}

bool HealthState::started() const {
  return content_.With([](const Content& content) { return content.started; });
}

HttpResponse HealthState::Readiness() const {
  return content_.With([](const Content& content) {
    bool ready = content.started;
    std::string text = content.started ? "" : "node: starting\n";
    for (const auto& [name, component] : content.components) {
      ready = ready && component.ready;
      StrAppend(&text, name, ": ", Printable(component.text, kLineBytesMax), "\n");
    }
    return TextResponse(text.empty() ? "ready\n" : std::move(text), ready ? 200 : 503);
  });
}

HealthPages HealthState::Pages(std::function<std::string()> metrics) const {
  return {[this] { return StartupPage(started(), ""); }, [this] { return Readiness(); },
          std::move(metrics)};
}

HttpResponse StartupPage(bool started, const std::string& stage) {
  if (started) return TextResponse("started\n");
  return TextResponse(stage.empty() ? "starting\n" : StrCat("starting: ", stage, "\n"), 503);
}

Result<std::unique_ptr<HealthServer>> HealthServer::Start(const HealthServerOptions& options,
                                                          HealthPages pages, Log log) {
  const auto page = [](std::function<HttpResponse()> answer) {
    return [answer = std::move(answer)](const RouteMatch&) {
      return answer ? answer() : TextResponse("");
    };
  };
  std::unique_ptr<HealthServer> health(new HealthServer());
  health->router_.Add("GET", "/livez", [](const RouteMatch&) { return TextResponse("ok\n"); })
      .Add("GET", "/startupz", page(std::move(pages.startup)))
      .Add("GET", "/readyz", page(std::move(pages.ready)))
      .Add("GET", "/metrics", [metrics = std::move(pages.metrics)](const RouteMatch&) {
        HttpResponse response = TextResponse(metrics ? metrics() : "");
        response.headers["content-type"] = "text/plain; version=0.0.4; charset=utf-8";
        return response;
      });
  const HttpServerOptions http{
      .address = options.address, .port = options.port, .connections_max = kConnectionsMax};
  auto server = HttpServer::Start(
      http, nullptr,
      [router = &health->router_](const HttpRequest& request, const std::stop_token& stop) {
        return router->Handle(request, stop);
      },
      std::move(log));
  if (!server.ok())
    return WithNext(Annotate(server.status(), "health port"), "choose another with --health-port");
  health->server_ = *std::move(server);
  return health;
}

}  // namespace starling
