#include "http/server.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/errno.h"
#include "base/text.h"
#include "http/connection.h"
#include "http/socket.h"

namespace starling {
namespace {

constexpr Duration kDrain = 2s;  // for answers under way when the server stops
constexpr Duration kOutOfSocketsPause = 100ms;
constexpr Duration kAcceptWait =
    std::chrono::hours(1);  // woken earlier by a connection or by stopping

// What one connection too many reads on the plain port.
std::string BusyAnswer() {
  const HttpResponse response = ProblemResponse(WithNext(
      WithCode(absl::UnavailableError("no room for another connection"), "too-many-connections"),
      "try again later"));
  const std::string& body = std::get<std::string>(response.body);
  return StrCat(
      "HTTP/1.1 503 Service Unavailable\r\ncontent-type: "
      "application/problem+json\r\ncontent-length: ",
      body.size(), "\r\nconnection: close\r\n\r\n", body);
}

}  // namespace

struct HttpServer::Impl {
  struct Peer {
    std::string text;  // with the port
    std::string host;
  };
  struct Entry {
    bool done = false;
    std::jthread thread;
  };

  Impl(const HttpServerOptions& o, TlsContext* t, HttpHandler h, Log log)
      : options(o), tls(t), handler(std::move(h)), book(std::move(log)) {}
  ~Impl() { Stop(); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void Stop();
  void AcceptLoop();
  void Admit(UniqueFd socket, const Peer& peer);
  // Why one more connection is refused: a stable code, "" if it is not.
  std::string Limit(const std::string& host) const;
  void StartThread(UniqueFd socket, const Peer& peer);
  void Reap();
  void PauseAccepting();

  const HttpServerOptions options;
  TlsContext* const tls;
  const HttpHandler handler;
  ServerBook book;
  UniqueFd listener;
  std::uint16_t port = 0;
  std::stop_source stop;
  std::stop_source hard_stop;
  std::mutex mutex;  // of all below
  std::condition_variable_any changed;
  std::size_t active = 0;
  std::map<std::string, std::size_t> active_by_host;
  std::list<Entry> entries;
  std::jthread acceptor;
};

void HttpServer::Impl::Stop() {
  stop.request_stop();
  shutdown(listener.get(), SHUT_RDWR);  // wakes the acceptor
  if (acceptor.joinable()) acceptor.join();
  {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, kDrain, [&] { return active == 0; });
  }
  hard_stop.request_stop();
  entries.clear();  // joins
}

void HttpServer::Impl::PauseAccepting() {
  std::unique_lock lock(mutex);
  changed.wait_for(lock, stop.get_token(), kOutOfSocketsPause, [] { return false; });
}

void HttpServer::Impl::AcceptLoop() {
  while (!stop.stop_requested()) {
    if (!WaitReady(listener.get(), POLLIN, MomentIn(kAcceptWait)).ok()) continue;
    SocketAddress address;
    address.size = sizeof address.storage;
    UniqueFd socket(accept4(listener.get(), reinterpret_cast<sockaddr*>(&address.storage),
                            &address.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket.valid()) {
      Admit(std::move(socket), {address.Text(), address.HostText()});
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED &&
               !stop.stop_requested()) {
      // Out of descriptors or memory: the connection stays in the backlog, and trying again at once
      // would burn a core.
      book.Refuse("everybody", "out-of-sockets", ErrnoText(errno));
      PauseAccepting();
    }
  }
}

std::string HttpServer::Impl::Limit(const std::string& host) const {
  if (active >= options.connections_max) return "too-many-connections";
  const auto same = active_by_host.find(host);
  if (same != active_by_host.end() && same->second >= options.connections_per_peer_max) {
    return "too-many-connections-of-peer";
  }
  return {};
}

void HttpServer::Impl::Admit(UniqueFd socket, const Peer& peer) {
  Reap();
  std::string limit;
  {
    const std::scoped_lock lock(mutex);
    limit = Limit(peer.host);
    if (limit.empty()) {
      ++active;
      ++active_by_host[peer.host];
    }
  }
  if (limit.empty()) {
    StartThread(std::move(socket), peer);
    return;
  }
  book.Refuse(peer.text, limit, "no room for another connection");
  if (tls == nullptr) {
    const std::string answer = BusyAnswer();
    // As far as the socket takes it at once; nobody waits for a peer that is being refused.
    static_cast<void>(
        send(socket.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
    shutdown(socket.get(), SHUT_WR);
  }
}

void HttpServer::Impl::StartThread(UniqueFd socket, const Peer& peer) {
  book.CountConnection();
  const std::scoped_lock lock(mutex);
  Entry& entry = entries.emplace_back();
  const auto leave = [this, &entry, host = peer.host] {  // under the lock
    entry.done = true;
    --active;
    if (--active_by_host[host] == 0) active_by_host.erase(host);
    changed.notify_all();
  };
  try {
    entry.thread = std::jthread([this, leave, peer, held = std::move(socket)]() mutable {
      const ConnectionContext context{
          options, tls, handler, book, stop.get_token(), hard_stop.get_token()};
      ServeConnection(std::move(held), peer.text, context);
      const std::scoped_lock end_lock(mutex);
      leave();
    });
  } catch (const std::system_error& error) {
    leave();
    entries.pop_back();
    book.Refuse(peer.text, "out-of-threads", error.what());
  }
}

void HttpServer::Impl::Reap() {
  std::list<Entry> finished;
  {
    const std::scoped_lock lock(mutex);
    for (auto it = entries.begin(); it != entries.end();) {
      const auto next = std::next(it);
      if (it->done) finished.splice(finished.end(), entries, it);
      it = next;
    }
  }
  // Joined here, outside the lock, which a thread lets go last.
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                      TlsContext* tls, HttpHandler handler,
                                                      Log log) {
  auto impl = std::make_unique<Impl>(options, tls, std::move(handler), std::move(log));
  ASSIGN_OR_RETURN(impl->listener, ListenSocket(options.address, options.port));
  impl->port = LocalPort(impl->listener.get());
  impl->acceptor = std::jthread([server = impl.get()] { server->AcceptLoop(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::Stop() { impl_->Stop(); }
std::uint16_t HttpServer::port() const { return impl_->port; }
HttpServerCounters HttpServer::counters() const { return impl_->book.counters(); }
HttpServer::Refused HttpServer::refused_peers(Duration span) const {
  return impl_->book.refused_peers(span);
}

}  // namespace starling
