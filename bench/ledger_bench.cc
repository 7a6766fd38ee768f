// What an append to the embedded ledger costs, beside the floor: one write and one fsync in the
// same folder.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/owned.h"
#include "benchmark/benchmark.h"
#include "ledger/ledger.h"

namespace starling {
namespace {

constexpr std::size_t kEntryBytes = 700;  // of a check-in

// In the working directory, not in /tmp, which is often memory.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = "starling-bench-XXXXXX";
    if (mkdtemp(name.data()) != nullptr) path_ = name;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    if (!path_.empty()) std::filesystem::remove_all(path_);
  }
  [[nodiscard]] std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void Append(benchmark::State& state) {
  const TemporaryFolder folder;
  const RealClock clock;
  const auto ledger = OpenEmbeddedLedger(folder.File("ledger.db"), clock).value();
  const std::vector<std::string> entries(static_cast<std::size_t>(state.range(0)),
                                         std::string(kEntryBytes, 'x'));
  for (auto _ : state) {
    if (!ledger->Append(entries).ok()) return state.SkipWithError("append");
  }
}

void WriteAndSync(benchmark::State& state) {
  const TemporaryFolder folder;
  const UniqueFd fd(open(folder.File("floor").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const std::string bytes(4096, 'x');
  for (auto _ : state) {
    if (write(fd.get(), bytes.data(), bytes.size()) < 0 || fdatasync(fd.get()) != 0)
      return state.SkipWithError("write");
  }
}

void Read(benchmark::State& state) {
  const TemporaryFolder folder;
  const RealClock clock;
  const auto ledger = OpenEmbeddedLedger(folder.File("ledger.db"), clock).value();
  const std::vector<std::string> entries(100, std::string(kEntryBytes, 'x'));
  for (int i = 0; i < 10; ++i) {
    if (!ledger->Append(entries).ok()) return state.SkipWithError("append");
  }
  for (auto _ : state) {
    if (ledger->Read(0, {})->size() != 1000) return state.SkipWithError("read");
  }
}

BENCHMARK(Append)->Arg(1)->Arg(8)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(WriteAndSync)->Unit(benchmark::kMicrosecond)->UseRealTime();
BENCHMARK(Read)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace starling
