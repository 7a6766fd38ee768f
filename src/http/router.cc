#include <algorithm>
#include <set>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "http/server.h"

namespace starling {
namespace {

std::vector<std::string> Segments(std::string_view path) {
  std::vector<std::string> segments;
  while (!path.empty()) {
    path.remove_prefix(1);  // the '/'
    segments.emplace_back(path.substr(0, path.find('/')));
    path.remove_prefix(segments.back().size());
  }
  return segments;
}

bool IsParameter(const std::string& segment) { return segment.starts_with('{'); }

// The parameters, or nothing when the pattern is another.
std::optional<std::map<std::string, std::string>> Match(const std::vector<std::string>& pattern,
                                                        const std::vector<std::string>& path) {
  if (pattern.size() != path.size()) return std::nullopt;
  std::map<std::string, std::string> parameters;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (IsParameter(pattern[i])) {
      if (path[i].empty()) return std::nullopt;
      parameters[pattern[i].substr(1, pattern[i].size() - 2)] = path[i];
    } else if (pattern[i] != path[i]) {
      return std::nullopt;
    }
  }
  return parameters;
}

}  // namespace

Router& Router::Add(std::string method, const std::string& pattern, RouteHandler handler) {
  CHECK(pattern.starts_with('/'));
  std::vector<std::string> segments = Segments(pattern);
  for (const std::string& segment : segments)
    CHECK(!IsParameter(segment) || segment.ends_with('}'));
  routes_.push_back({std::move(method), std::move(segments), std::move(handler)});
  return *this;
}

HttpResponse Router::Handle(const HttpRequest& request, const std::stop_token& stop) const {
  const std::vector<std::string> path = Segments(request.path);
  std::set<std::string> methods;
  for (const Route& route : routes_) {
    auto parameters = Match(route.segments, path);
    if (!parameters) continue;
    if (route.method == request.method) {
      return route.handler(RouteMatch{request, *std::move(parameters), stop});
    }
    methods.insert(route.method);
  }
  if (methods.empty()) {
    return ProblemResponse(WithCode(
        absl::NotFoundError(StrCat("nothing lives at ", Printable(request.path))), "no-such-path"));
  }
  std::string allowed;
  for (const std::string& method : methods)
    StrAppend(&allowed, allowed.empty() ? "" : ", ", method);
  HttpResponse response = ProblemWithStatus(
      405,
      WithCode(absl::UnimplementedError(StrCat(Printable(request.path), " takes only ", allowed)),
               "method-not-allowed"));
  response.headers["allow"] = allowed;
  return response;
}

}  // namespace starling
