// What HTTPS costs: CPU seconds a GiB, both ends together, over loopback, beside plain HTTP and
// memcpy in the same run. `CPU` is that of the whole process.
#include <cstring>
#include <memory>
#include <string>

#include "base/clock.h"
#include "benchmark/benchmark.h"
#include "http/client.h"
#include "http/message_io.h"
#include "http/request_parser.h"
#include "http/server.h"
#include "identity/dev_authority.h"

namespace starling {
namespace {

constexpr std::size_t kBlobBytes = std::size_t{256} << 20;
constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

// One party that believes in everybody of its own authority.
struct Party {
  Party(const DevAuthority& authority, const Clock& clock) {
    auto state = std::make_shared<IdentityState>();
    DevAuthority::Request request;
    request.not_before = clock.UtcNow() - std::chrono::minutes(1);
    request.not_after = clock.UtcNow() + std::chrono::hours(24);
    state->svid = authority.Issue(request).value();
    state->bundles[authority.trust_domain()] = authority.bundle();
    source = MakeFixedSource(std::move(state));
    tls = TlsContext::Create(*source, PeerPolicy{{}, {"*"}}, clock).value();
  }
  std::unique_ptr<SvidSource> source;
  std::unique_ptr<TlsContext> tls;
};

class World {
 public:
  explicit World(bool secure) {
    const auto blob = std::make_shared<const std::string>(kBlobBytes, 'x');
    HttpServerOptions options;
    options.address = "127.0.0.1";
    server_ = HttpServer::Start(
                  options, secure ? server_party_.tls.get() : nullptr,
                  [blob](const HttpRequest& request, const std::stop_token&) {
                    if (request.path == "/small") return TextResponse("OK");
                    return BlobResponse(request, Slice{AsBytes(*blob), blob});
                  },
                  Log())
                  .value();
  }
  [[nodiscard]] Endpoint endpoint() const { return {"127.0.0.1", server_->port()}; }
  [[nodiscard]] TlsContext& client_tls() const { return *client_party_.tls; }

 private:
  RealClock clock_;
  DevAuthority authority_ = DevAuthority::InMemory("bench.local", clock_.UtcNow()).value();
  Party server_party_{authority_, clock_};
  Party client_party_{authority_, clock_};
  std::unique_ptr<HttpServer> server_;
};

void CountGiB(benchmark::State& state) {
  const auto bytes = static_cast<double>(state.iterations()) * static_cast<double>(kBlobBytes);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kBlobBytes));
  // Inverted, it is the CPU time (not the wall time) of one GiB, as the process's CPU time is what
  // is measured.
  state.counters["cpu_s_per_GiB"] =
      benchmark::Counter(bytes / static_cast<double>(std::size_t{1} << 30),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void HttpsGet(benchmark::State& state) {
  const World world(true);
  HttpClient client(world.client_tls(), {});
  Bytes piece(kPieceBytes);
  for (auto _ : state) {
    const auto stream = client.Open(world.endpoint(), {.target = "/blob"}, {});
    if (!stream.ok()) return state.SkipWithError("open");
    while ((*stream)->remaining() > 0) {
      if (!(*stream)->Read(piece).ok()) return state.SkipWithError("read");
    }
  }
  CountGiB(state);
}

void PlainGet(benchmark::State& state) {
  const World world(false);
  Bytes piece(kPieceBytes);
  for (auto _ : state) {
    const auto stream =
        Stream::ConnectPlain("127.0.0.1", world.endpoint().port, 5s, 5s, {}).value();
    InputBuffer input;
    if (!stream->WriteAll(AsBytes("GET /blob HTTP/1.1\r\nHost: a\r\n\r\n")).ok())
      return state.SkipWithError("write");
    if (!ReadHead(*stream, input, {.bytes_max = 4096, .time = 5s}).ok())
      return state.SkipWithError("head");
    for (std::size_t read = 0; read < kBlobBytes; read += kPieceBytes) {
      if (!ReadExactly(*stream, input, piece).ok()) return state.SkipWithError("read");
    }
  }
  CountGiB(state);
}

void Memcpy(benchmark::State& state) {
  const std::string blob(kBlobBytes, 'x');
  Bytes piece(kPieceBytes);
  for (auto _ : state) {
    for (std::size_t at = 0; at < blob.size(); at += piece.size()) {
      std::memcpy(piece.data(), blob.data() + at, piece.size());
      benchmark::DoNotOptimize(piece.data());
      benchmark::ClobberMemory();
    }
  }
  CountGiB(state);
}

void SmallRequest(benchmark::State& state) {
  const World world(true);
  HttpClient client(world.client_tls(), {});
  for (auto _ : state) {
    if (!client.Do(world.endpoint(), {.target = "/small"}, {}).ok())
      return state.SkipWithError("request");
  }
}

void Handshake(benchmark::State& state) {
  const World world(true);
  for (auto _ : state) {
    HttpClient client(world.client_tls(), {});
    if (!client.Do(world.endpoint(), {.target = "/small"}, {}).ok())
      return state.SkipWithError("request");
  }
}

BENCHMARK(HttpsGet)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();
BENCHMARK(PlainGet)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();
BENCHMARK(Memcpy)->Unit(benchmark::kMillisecond)->MeasureProcessCPUTime();
BENCHMARK(SmallRequest)->Unit(benchmark::kMicrosecond)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK(Handshake)->Unit(benchmark::kMicrosecond)->MeasureProcessCPUTime()->UseRealTime();

}  // namespace
}  // namespace starling
