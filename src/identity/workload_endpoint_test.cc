#include "identity/workload_endpoint.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <fstream>
#include <string>

#include "base/scratch_testing.h"
#include "gtest/gtest.h"

namespace starling {
namespace {

std::string Parsed(const std::string& text) {
  const Result<std::string> endpoint = ParseWorkloadEndpoint(text);
  return endpoint.ok() ? *endpoint : StableCode(endpoint.status());
}

TEST(WorkloadEndpointTest, TheFormsThatThereAre) {
  EXPECT_EQ(Parsed("unix:///run/agent.sock"), "unix:///run/agent.sock");
  EXPECT_EQ(Parsed("unix:/run/agent.sock"), "unix:///run/agent.sock");
  EXPECT_EQ(Parsed("/run/agent.sock"), "unix:///run/agent.sock");
  EXPECT_EQ(Parsed("tcp://127.0.0.1:8000"), "tcp://127.0.0.1:8000");
  EXPECT_EQ(Parsed("tcp://[::1]:8000"), "tcp://[::1]:8000");
}

TEST(WorkloadEndpointTest, AnythingElseIsRefusedWithTheNextStep) {
  const std::string sun_path(sizeof(sockaddr_un::sun_path) - 1, 'a');
  EXPECT_EQ(Parsed("/" + sun_path.substr(1)), "unix:///" + sun_path.substr(1));
  for (const std::string& text : {std::string(""),
                                  std::string("run/agent.sock"),
                                  std::string("unix:agent.sock"),
                                  std::string("unix://run/agent.sock"),
                                  std::string("unix:"),
                                  std::string("unix:///"),
                                  std::string("unix:///run/a?b"),
                                  std::string("unix:///run/a#b"),
                                  std::string("/run/a%20b"),
                                  std::string("/run/a b"),
                                  std::string("/run/a\0b", 8),
                                  "/" + sun_path,
                                  std::string("tcp://localhost:80"),
                                  std::string("tcp://127.0.0.1"),
                                  std::string("tcp://127.0.0.1:0"),
                                  std::string("tcp://127.0.0.1:65536"),
                                  std::string("tcp://127.0.0.1:80/"),
                                  std::string("tcp://::1:80"),
                                  std::string("tcp://"),
                                  std::string("tcp:127.0.0.1:80"),
                                  std::string("http://127.0.0.1:80"),
                                  std::string("UNIX:///run/agent.sock"),
                                  std::string(" /run/agent.sock")}) {
    EXPECT_EQ(Parsed(text), "bad-endpoint") << text;
    EXPECT_NE(NextStep(ParseWorkloadEndpoint(text).status()), "") << text;
  }
}

std::string Problem(const std::string& path) {
  const Result<UniqueFd> fd = ConnectToWorkloadEndpoint("unix://" + path, {});
  return fd.ok() ? "" : std::string(fd.status().message());
}

TEST(WorkloadEndpointTest, WhyThereIsNoConnectionIsSaidExactly) {
  const ScratchDirectory scratch;
  const std::string path = scratch.File("agent.sock");
  EXPECT_EQ(Problem(path), path + ": there is no such socket");
  EXPECT_EQ(SocketFingerprint("unix://" + path), "");
  const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(Problem(path), path + ": the socket is there, but nobody listens on it");
  ASSERT_EQ(listen(listener.get(), 1), 0);
  EXPECT_EQ(Problem(path), "");
  EXPECT_NE(SocketFingerprint("unix://" + path), "");
  const std::string file = scratch.File("file");
  std::ofstream(file) << "x";
  EXPECT_EQ(Problem(file), file + ": this is not a socket");
  EXPECT_EQ(Problem(file + "/agent.sock"), file + "/agent.sock: there is no such socket");
}

// Without them a host that is gone would be waited for as long as the kernel likes: two hours.
TEST(WorkloadEndpointTest, OverTcpAHostThatIsGoneIsNoticedWithinMinutes) {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  const Result<UniqueFd> fd =
      ConnectToWorkloadEndpoint("tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port)), {});
  ASSERT_TRUE(fd.ok()) << fd.status();
  const auto option = [&fd](int level, int name) {
    int value = -1;
    socklen_t value_size = sizeof value;
    EXPECT_EQ(getsockopt(fd->get(), level, name, &value, &value_size), 0);
    return value;
  };
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_LE(option(IPPROTO_TCP, TCP_KEEPIDLE) +
                option(IPPROTO_TCP, TCP_KEEPINTVL) * option(IPPROTO_TCP, TCP_KEEPCNT),
            120);
  EXPECT_GT(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
  EXPECT_LE(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 120'000);
}

}  // namespace
}  // namespace starling
