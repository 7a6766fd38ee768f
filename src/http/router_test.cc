#include <string>

#include "gtest/gtest.h"
#include "http/server.h"

namespace starling {
namespace {

Router MakeRouter() {
  Router router;
  const auto answer = [](const std::string& name) {
    return [name](const RouteMatch& match) {
      std::string text = name;
      for (const auto& [key, value] : match.parameters) text += " " + key + "=" + value;
      return TextResponse(text);
    };
  };
  router.Add("GET", "/v1/blobs/{root}", answer("blob"))
      .Add("GET", "/v1/blobs/{root}/leaves", answer("leaves"))
      .Add("GET", "/merge/{instance}/{round}", answer("merge"))
      .Add("POST", "/v1/nodes", answer("post"))
      .Add("GET", "/v1/nodes", answer("get"));
  return router;
}

std::string Answer(const std::string& method, const std::string& path) {
  HttpRequest request;
  request.method = method;
  request.path = path;
  const HttpResponse response = MakeRouter().Handle(request, {});
  return response.status == 200 ? std::get<std::string>(response.body)
                                : std::to_string(response.status);
}

TEST(RouterTest, ChoosesByMethodAndPath) {
  EXPECT_EQ(Answer("GET", "/v1/blobs/sha256:ab"), "blob root=sha256:ab");
  EXPECT_EQ(Answer("GET", "/v1/blobs/sha256:ab/leaves"), "leaves root=sha256:ab");
  EXPECT_EQ(Answer("GET", "/merge/7/3"), "merge instance=7 round=3");
  EXPECT_EQ(Answer("POST", "/v1/nodes"), "post");
  EXPECT_EQ(Answer("GET", "/v1/nodes"), "get");
}

TEST(RouterTest, UnknownPathsAreNotFound) {
  for (const char* path : {"/", "/v1", "/v1/nodes/", "/v1/blobs/", "/v1/blobs/a/b", "/merge/7",
                           "/merge//3", "//v1/nodes"}) {
    EXPECT_EQ(Answer("GET", path), "404") << path;
  }
}

TEST(RouterTest, AWrongMethodNamesTheRightOnes) {
  HttpRequest request;
  request.method = "DELETE";
  request.path = "/v1/nodes";
  const HttpResponse response = MakeRouter().Handle(request, {});
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.headers.at("allow"), "GET, POST");
}

}  // namespace
}  // namespace starling
