// A server of the web for tests: HTTPS by OpenSSL as it comes, an ordinary certificate, a free
// port of the loopback, one connection after the other.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <charconv>
#include <csignal>
#include <functional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/owned.h"
#include "base/text.h"
#include "http/client.h"
#include "http/socket.h"
#include "identity/certificate_testing.h"
#include "openssl/ssl.h"

namespace starling::testing {

class WebServer {
 public:
  struct Request {
    std::string head;  // its empty line included
    std::string body;
  };
  // Answers all bytes of an answer; "": the connection is closed without one. Called by the
  // server's thread.
  using Answer = std::function<std::string(const Request&)>;

  // Its certificate is as `spec` says, of `ca`, with a chain of that alone.
  WebServer(const Ca& ca, const CertificateSpec& spec, Answer answer,
            int version_max = TLS1_3_VERSION)
      : answer_(std::move(answer)), context_(SSL_CTX_new(TLS_server_method())) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to clients that are gone already
    const KeyPtr key = MakeKey().value();
    const X509Ptr leaf = ca.Leaf(spec, *key);
    CHECK(SSL_CTX_use_cert_and_key(context_.get(), leaf.get(), key.get(), nullptr, 1) == 1);
    CHECK(SSL_CTX_set_max_proto_version(context_.get(), version_max) == 1);
    listener_ = ListenSocket("127.0.0.1", 0).value();
    port_ = LocalPort(listener_.get());
    thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
  }
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  // What a good answer is made of.
  static std::string Whole(int status, const std::string& body) {
    return StrCat("HTTP/1.1 ", status,
                  " X\r\nContent-Type: application/json\r\nContent-Length: ", body.size(),
                  "\r\n\r\n", body);
  }

 private:
  using ContextPtr = Owned<SSL_CTX, &SSL_CTX_free>;
  using ConnectionPtr = Owned<SSL, &SSL_free>;

  void Run(const std::stop_token& stop) {
    const std::stop_callback wake(stop, [&] { shutdown(listener_.get(), SHUT_RDWR); });
    while (WaitReady(listener_.get(), POLLIN, MomentIn(std::chrono::hours(1))).ok()) {
      const UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (stop.stop_requested() || !socket.valid()) return;
      const std::stop_callback cut(stop, [&] { shutdown(socket.get(), SHUT_RDWR); });
      Serve(socket.get());
    }
  }
  void Serve(int socket) const {
    const ConnectionPtr ssl(SSL_new(context_.get()));
    SSL_set_fd(ssl.get(), socket);
    if (SSL_accept(ssl.get()) != 1) return;
    for (std::string unread;;) {
      Request request;
      if (!Take(*ssl, unread, request)) return;
      const std::string answer = answer_(request);
      if (answer.empty() ||
          SSL_write(ssl.get(), answer.data(), static_cast<int>(answer.size())) <= 0) {
        SSL_shutdown(ssl.get());
        return;
      }
    }
  }
  // Whether there is a whole request.
  static bool Take(SSL& ssl, std::string& unread, Request& request) {
    constexpr std::string_view kEmptyLine = "\r\n\r\n", kLength = "content-length: ";
    for (char block[4096];;) {
      const std::size_t end = unread.find(kEmptyLine);
      std::size_t length = 0;
      if (end != std::string::npos) {
        request.head = unread.substr(0, end + kEmptyLine.size());
        const std::size_t at = request.head.find(kLength);
        const char* const digits = request.head.data() + at + kLength.size();
        if (at != std::string::npos)
          std::from_chars(digits, request.head.data() + request.head.size(), length);
        if (unread.size() >= request.head.size() + length) {
          request.body = unread.substr(request.head.size(), length);
          unread.erase(0, request.head.size() + length);
          return true;
        }
      }
      const int count = SSL_read(&ssl, block, sizeof block);
      if (count <= 0) return false;
      unread.append(block, static_cast<std::size_t>(count));
    }
  }

  const Answer answer_;
  const ContextPtr context_;
  UniqueFd listener_;
  std::uint16_t port_ = 0;
  std::jthread thread_;  // Last: it uses the others.
};

}  // namespace starling::testing
