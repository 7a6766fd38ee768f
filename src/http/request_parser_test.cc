#include "http/request_parser.h"

#include <string>

#include "gtest/gtest.h"

namespace starling {
namespace {

// "200", or the status that the request is refused with.
int StatusFor(const std::string& head) {
  const auto parsed = ParseRequestHead(head);
  const auto* refusal = std::get_if<RequestRefusal>(&parsed);
  return refusal == nullptr ? 200 : refusal->http_status;
}
std::string WithHeaders(const std::string& headers) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n";
}

TEST(RequestHeadTest, TakesApartAnOrdinaryRequest) {
  const auto parsed = ParseRequestHead(
      "POST /v1/entries?from=3&wait=%31%30 HTTP/1.1\r\nHost: sn:30304\r\nContent-Length: "
      "12\r\nStarling-Seen: 1:ab\r\n"
      "Accept: a\r\nAccept: b\r\n\r\n");
  ASSERT_TRUE(std::holds_alternative<RequestHead>(parsed))
      << std::get<RequestRefusal>(parsed).status;
  const auto& head = std::get<RequestHead>(parsed);
  EXPECT_EQ(head.request.method, "POST");
  EXPECT_EQ(head.request.path, "/v1/entries");
  EXPECT_EQ(head.request.query.at("from"), "3");
  EXPECT_EQ(head.request.query.at("wait"), "10");
  EXPECT_EQ(head.request.Header("starling-seen"), "1:ab");
  EXPECT_EQ(head.request.Header("accept"), "a, b");
  EXPECT_EQ(head.request.Header("absent"), "");
  EXPECT_EQ(head.body_bytes, 12U);
  EXPECT_TRUE(head.keep_alive);
}

TEST(RequestHeadTest, ConnectionCloseAndOldVersionsEndTheConnection) {
  EXPECT_FALSE(
      std::get<RequestHead>(ParseRequestHead(WithHeaders("Connection: close\r\n"))).keep_alive);
  EXPECT_FALSE(std::get<RequestHead>(ParseRequestHead("GET / HTTP/1.0\r\n\r\n")).keep_alive);
}

TEST(RequestHeadTest, FramingThatCouldBeReadInTwoWaysIsRefused) {
  EXPECT_EQ(StatusFor(WithHeaders("Content-Length: 1\r\nContent-Length: 1\r\n")), 400);
  EXPECT_EQ(StatusFor(WithHeaders("Content-Length: 1\r\nContent-Length: 2\r\n")), 400);
  EXPECT_EQ(StatusFor(WithHeaders("Content-Length: 1, 1\r\n")), 400);
  EXPECT_EQ(StatusFor(WithHeaders("Content-Length: -1\r\n")), 400);
  EXPECT_EQ(StatusFor(WithHeaders("Content-Length: +1\r\n")), 400);
  EXPECT_EQ(StatusFor(WithHeaders("Content-Length: 0x1\r\n")), 400);
  EXPECT_EQ(StatusFor(WithHeaders("Content-Length: 99999999999999999999\r\n")), 400);
  EXPECT_EQ(StatusFor(WithHeaders("Content-Length:\r\n")), 400);
  EXPECT_EQ(StatusFor(WithHeaders("Transfer-Encoding: chunked\r\n")), 411);
  EXPECT_EQ(StatusFor(WithHeaders("Transfer-Encoding: identity\r\n")), 411);
  EXPECT_NE(StatusFor(WithHeaders("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n")), 200);
  EXPECT_EQ(StatusFor("GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"), 400);
  EXPECT_EQ(StatusFor("GET / HTTP/1.1\nHost: a\n\n\r\n\r\n"), 400);
  EXPECT_EQ(StatusFor("GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n"), 400);
  EXPECT_EQ(StatusFor(WithHeaders(std::string("X: a\0b\r\n", 8))), 400);
}

TEST(RequestHeadTest, OnlyKnownMethodsAndOriginFormAreTaken) {
  EXPECT_EQ(StatusFor("BREW / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
  EXPECT_EQ(StatusFor("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
  EXPECT_EQ(StatusFor("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
  EXPECT_EQ(StatusFor("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(StatusFor("GET * HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(StatusFor("GET a HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(StatusFor("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(StatusFor("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(StatusFor("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), 400);
  EXPECT_EQ(StatusFor("\r\n\r\n"), 400);
  EXPECT_EQ(StatusFor(""), 400);
}

TEST(RequestHeadTest, WhatIsNotSupportedIsSaidSo) {
  EXPECT_EQ(StatusFor(WithHeaders("Expect: 100-continue\r\n")), 417);
  EXPECT_EQ(StatusFor(WithHeaders("Connection: Upgrade\r\nUpgrade: h2c\r\n")), 400);
  EXPECT_EQ(StatusFor("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), 411);
}

TEST(RequestHeadTest, AFloodOfFieldsIsRefused) {
  std::string fields;
  for (int i = 0; i < 99; ++i) fields += "a: b\r\n";
  EXPECT_EQ(StatusFor(WithHeaders(fields)), 200);
  EXPECT_EQ(StatusFor(WithHeaders(fields + "a: b\r\n")), 400);
}

TEST(TargetTest, DecodesStrictly) {
  EXPECT_EQ(ParseTarget("/a%20b/%C3%A9")->path, "/a b/\xc3\xa9");
  EXPECT_EQ(ParseTarget("/a+b?x=1+2&y&z=")->query,
            (std::map<std::string, std::string>{{"x", "1+2"}, {"y", ""}, {"z", ""}}));
  EXPECT_EQ(ParseTarget("/")->path, "/");
  EXPECT_EQ(ParseTarget("/a/")->path, "/a/");
  for (const char* target :
       {"", "a", "/%", "/%4", "/%zz", "/%00", "/%0a", "/%ff", "/a%2fb", "/../a", "/a/..", "/./a",
        "/%2e%2e/a", "/a#b", "/?a=1&a=2", "/?=1", "/?a=%", "/?a=%0d", "/a\x01"}) {
    EXPECT_FALSE(ParseTarget(target).ok()) << target;
  }
  EXPECT_FALSE(ParseTarget("/" + std::string(10'000, 'a')).ok());
}

TEST(TargetTest, TooManyParametersAreRefused) {
  std::string target = "/?p0=0";
  for (int i = 1; i < 32; ++i) target += "&p" + std::to_string(i) + "=0";
  EXPECT_TRUE(ParseTarget(target).ok());
  EXPECT_FALSE(ParseTarget(target + "&q=0").ok());
}

TEST(TargetTest, EncodingComesBackTheSame) {
  const std::string text = "a b/\xc3\xa9?&=#%~";
  EXPECT_EQ(PercentEncode("a b"), "a%20b");
  EXPECT_EQ(PercentDecode(PercentEncode(text)).value(), text);
}

int ResponseStatusFor(const std::string& head) {
  const auto parsed = ParseResponseHead(head);
  return parsed.ok() ? parsed->status : 0;
}

TEST(ResponseHeadTest, NeedsALengthAndAFinalStatus) {
  EXPECT_EQ(ResponseStatusFor("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), 200);
  EXPECT_EQ(ResponseStatusFor("HTTP/1.1 204 No Content\r\n\r\n"), 204);
  EXPECT_EQ(ResponseStatusFor("HTTP/1.1 200 OK\r\n\r\n"), 0);
  EXPECT_EQ(ResponseStatusFor("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
            0);
  EXPECT_EQ(ResponseStatusFor("HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n"), 0);
  EXPECT_EQ(ResponseStatusFor("SSH-2.0-OpenSSH\r\n\r\n"), 0);
  const auto large = ParseResponseHead("HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n");
  ASSERT_TRUE(large.ok()) << large.status();
  EXPECT_EQ(large->body_bytes, std::uint64_t{1} << 40);
}

TEST(ResponseHeadTest, MayBeChunkedWithoutALength) {
  const auto chunked = ParseResponseHead("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  ASSERT_TRUE(chunked.ok()) << chunked.status();
  EXPECT_TRUE(chunked->is_chunked);
  EXPECT_EQ(chunked->body_bytes, 0U);
  EXPECT_EQ(ResponseStatusFor("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"), 0);
  EXPECT_EQ(ResponseStatusFor("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                              "Content-Length: 5\r\n\r\n"),
            0);
  EXPECT_EQ(ResponseStatusFor("HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n"), 0);
}

TEST(ChunkSizeTest, IsHexadecimalAndBounded) {
  EXPECT_EQ(ParseChunkSize("1aF").value(), 0x1afU);
  EXPECT_EQ(ParseChunkSize("0").value(), 0U);
  EXPECT_EQ(ParseChunkSize("a;x=\"y\"").value(), 10U);
  for (const char* bad : {"", ";x", "-1", "0x1", "g", "123456789", " 1"})
    EXPECT_FALSE(ParseChunkSize(bad).ok()) << bad;
}

TEST(HeadLengthTest, FindsTheEmptyLine) {
  EXPECT_FALSE(HeadLength("GET / HTTP/1.1\r\n\r").has_value());
  EXPECT_EQ(HeadLength("a\r\n\r\nbody\r\n\r\n"), 5U);
}

}  // namespace
}  // namespace starling
