#include "http/message.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "http/client.h"

namespace starling {
namespace {

std::string BodyOf(const HttpResponse& response) {
  if (const auto* text = std::get_if<std::string>(&response.body)) return *text;
  return ToString(std::get<Slice>(response.body).bytes);
}

Slice SliceOf(const std::string& text) {
  const auto kept = std::make_shared<const std::string>(text);
  return {AsBytes(*kept), kept};
}

std::string RangeText(std::string_view header, std::uint64_t size) {
  const auto range = ParseRange(header, size);
  if (!range.ok()) return absl::IsOutOfRange(range.status()) ? "unmet" : "malformed";
  if (!*range) return "none";
  return std::to_string((*range)->begin) + ".." + std::to_string((*range)->end);
}

TEST(RangeTest, ReadsTheThreeForms) {
  EXPECT_EQ(RangeText("", 10), "none");
  EXPECT_EQ(RangeText("bytes=0-0", 10), "0..1");
  EXPECT_EQ(RangeText("bytes=2-5", 10), "2..6");
  EXPECT_EQ(RangeText("bytes=2-", 10), "2..10");
  EXPECT_EQ(RangeText("bytes=-3", 10), "7..10");
}

TEST(RangeTest, CutsAtTheEnd) {
  EXPECT_EQ(RangeText("bytes=5-1000", 10), "5..10");
  EXPECT_EQ(RangeText("bytes=5-18446744073709551615", 10), "5..10");
  EXPECT_EQ(RangeText("bytes=-1000", 10), "0..10");
}

TEST(RangeTest, SaysWhenNothingOfItIsThere) {
  EXPECT_EQ(RangeText("bytes=10-", 10), "unmet");
  EXPECT_EQ(RangeText("bytes=10-11", 10), "unmet");
  EXPECT_EQ(RangeText("bytes=-0", 10), "unmet");
  EXPECT_EQ(RangeText("bytes=0-", 0), "unmet");
  EXPECT_EQ(RangeText("bytes=-1", 0), "unmet");
}

TEST(RangeTest, RefusesAnythingElse) {
  for (const char* header :
       {"bytes", "bytes=", "bytes=-", "bytes=5", "bytes=5-2", "bytes=a-b", "bytes=1-2,4-5",
        "bytes= 1-2", "bytes=1 -2", "bytes=+1-2", "Bytes=1-2", "items=1-2", "bytes=1--2",
        "bytes=1-2-3", "bytes=18446744073709551616-", "bytes=0x1-2"}) {
    EXPECT_EQ(RangeText(header, 10), "malformed") << header;
  }
}

TEST(BlobResponseTest, AnswersTheWholeOrAPart) {
  const Slice blob = SliceOf("0123456789");
  HttpRequest request;
  const HttpResponse whole = BlobResponse(request, blob);
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(BodyOf(whole), "0123456789");
  request.headers["range"] = "bytes=2-4";
  const HttpResponse part = BlobResponse(request, blob);
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.headers.at("content-range"), "bytes 2-4/10");
  EXPECT_EQ(BodyOf(part), "234");
}

TEST(BlobResponseTest, AnImpossibleRangeNamesTheSize) {
  HttpRequest request;
  request.headers["range"] = "bytes=10-12";
  const HttpResponse response = BlobResponse(request, SliceOf("0123456789"));
  EXPECT_EQ(response.status, 416);
  EXPECT_EQ(response.headers.at("content-range"), "bytes */10");
  request.headers["range"] = "bytes=x";
  EXPECT_EQ(BlobResponse(request, SliceOf("0123456789")).status, 400);
}

TEST(ProblemTest, CarriesCodeDetailAndNextStepToTheClient) {
  const Status status =
      WithNext(WithCode(absl::FailedPreconditionError("tensor 3 differs"), "schema-differs"),
               "compare the programs");
  const HttpResponse response = ProblemResponse(status, {{"place", {1, 2}}});
  EXPECT_EQ(response.status, 409);
  EXPECT_EQ(response.headers.at("content-type"), "application/problem+json");
  const auto problem = nlohmann::json::parse(BodyOf(response));
  EXPECT_EQ(problem["type"], "about:blank");
  EXPECT_EQ(problem["title"], "Conflict");
  EXPECT_EQ(problem["status"], 409);
  EXPECT_EQ(problem["place"], nlohmann::json::array({1, 2}));
  const Status back = StatusOf(response.status, BodyOf(response));
  EXPECT_TRUE(absl::IsFailedPrecondition(back));
  EXPECT_EQ(std::string(back.message()), "tensor 3 differs");
  EXPECT_EQ(StableCode(back), "schema-differs");
  EXPECT_EQ(NextStep(back), "compare the programs");
}

TEST(ProblemTest, EveryCodeSurvivesTheWayToTheClient) {
  for (int code = 1; code <= 16; ++code) {
    const Status status(static_cast<absl::StatusCode>(code), "x");
    const HttpResponse response = ProblemResponse(status);
    EXPECT_GE(response.status, 400) << status;
    EXPECT_EQ(StatusOf(response.status, BodyOf(response)).code(), status.code()) << status;
  }
}

TEST(ProblemTest, AnAnswerThatIsNoProblemJsonStillMakesAnError) {
  EXPECT_TRUE(absl::IsNotFound(StatusOf(404, "<html>")));
  EXPECT_TRUE(absl::IsNotFound(StatusOf(404, "[1]")));
  EXPECT_TRUE(absl::IsNotFound(StatusOf(404, R"({"code":7,"detail":null})")));
  EXPECT_TRUE(absl::IsUnavailable(StatusOf(599, "")));
  EXPECT_TRUE(absl::IsResourceExhausted(StatusOf(413, "")));
  EXPECT_TRUE(StatusOf(206, "x").ok());
}

TEST(ProblemTest, WhatAPeerSaysIsCutAndOfOneLine) {
  const nlohmann::json problem = {{"detail", std::string(100'000, 'x') + "\n"}, {"code", "a\nb"}};
  EXPECT_LT(StatusOf(400, problem.dump()).message().size(), 3000U);
  EXPECT_EQ(StableCode(StatusOf(400, R"({"code":"a\nb"})")), "a\\x0ab");
}

TEST(EndpointTest, ReadsHostAndPort) {
  const auto endpoint = Endpoint::Parse("https://node-1.example.org:30305");
  ASSERT_TRUE(endpoint.ok());
  EXPECT_EQ(endpoint->host, "node-1.example.org");
  EXPECT_EQ(endpoint->port, 30305);
  EXPECT_EQ(endpoint->Url(), "https://node-1.example.org:30305");
  const auto six = Endpoint::Parse("https://[::1]:1");
  ASSERT_TRUE(six.ok());
  EXPECT_EQ(six->host, "::1");
  EXPECT_EQ(six->Url(), "https://[::1]:1");
}

TEST(EndpointTest, RefusesEverythingElse) {
  for (const char* url : {"",
                          "https://",
                          "https://a",
                          "https://a:",
                          "https://a:0",
                          "https://a:65536",
                          "https://a:1/",
                          "https://:1",
                          "http://a:1",
                          "https://u@a:1",
                          "https://a:1?x",
                          "https://a b:1",
                          "https://a:+1",
                          "https://::1:1",
                          "https://[::1]",
                          "https://[a]:1",
                          "https://[]:1",
                          "https://a:1 ",
                          "https://a:1\n",
                          "//a:1",
                          "a:1"}) {
    EXPECT_FALSE(Endpoint::Parse(url).ok()) << url;
  }
}

}  // namespace
}  // namespace starling
