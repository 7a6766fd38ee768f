// What tests of a join source share: a fake SPIRE server, and a source that attests to it.
#pragma once

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/fs.h"
#include "base/scratch_testing.h"
#include "base/text.h"
#include "gmock/gmock.h"
#include "identity/join_state.h"
#include "identity/spiffe/comes_testing.h"
#include "identity/spiffe/fake_spire_testing.h"
#include "identity/spiffe/join_source.h"

namespace starling::testing {

inline const std::string kToken = "0b1e5c1a-token-of-this-test";

// The wall clock of this machine, set wrong by some amount. Any thread.
class ShiftedClock final : public Clock {
 public:
  [[nodiscard]] Instant Now() const override { return real_.Now(); }
  [[nodiscard]] UtcTime UtcNow() const override {
    if (throws_.exchange(false)) throw std::runtime_error("no clock");
    return real_.UtcNow() + shift_.load();
  }
  void Shift(std::chrono::seconds by) { shift_ = by; }
  void ThrowOnce() { throws_ = true; }

 private:
  const RealClock real_;
  std::atomic<std::chrono::seconds> shift_{std::chrono::seconds(0)};
  mutable std::atomic<bool> throws_{false};
};

class JoinSourceTest : public ::testing::Test {
 protected:
  JoinSourceTest() {
    spire_.With([](FakeSpireWorld& world) {
      world.tokens.insert(kToken);
      world.AddEntry("e-1", "/swarm/sl");
    });
    WriteBundle(spire_);
  }
  // Whatever a test did, its secrets are nowhere to be read.
  ~JoinSourceTest() override {
    source_.reset();
    EXPECT_THAT(LogText(), ::testing::Not(::testing::HasSubstr(kToken)));
    EXPECT_THAT(LogText(), ::testing::Not(::testing::HasSubstr("PRIVATE")));
  }

  void WriteBundle(FakeSpire& server) {
    ASSERT_TRUE(WriteFileDurably(bundle_, server.BundlePem()).ok());
  }
  [[nodiscard]] JoinOptions Options(const std::string& token = kToken) const {
    JoinOptions options{.server_host = "127.0.0.1",
                        .server_port = spire_.port(),
                        .trust_domain = "a",
                        .token = token,
                        .bundle_file = bundle_};
    options.state_dir = scratch_.File("state");
    options.choice = {.paths = {"/swarm/sl"}, .hint = ""};
    return options;
  }
  void Start(JoinOptions options) {
    source_.reset();
    auto source = StartJoinSource(std::move(options), clock_, log_);
    ASSERT_TRUE(source.ok()) << source.status();
    source_ = *std::move(source);
  }
  void StartAndAwait(JoinOptions options) {
    ASSERT_NO_FATAL_FAILURE(Start(std::move(options)));
    const Status status = source_->AwaitIdentity(kHanging, {});
    ASSERT_TRUE(status.ok()) << status;
  }
  // How a source ends of which nothing can become.
  Status StartAndFail(JoinOptions options) {
    source_.reset();
    auto source = StartJoinSource(std::move(options), clock_, log_);
    if (!source.ok()) return source.status();
    source_ = *std::move(source);
    return source_->AwaitIdentity(kHanging, {});
  }
  [[nodiscard]] std::shared_ptr<const IdentityState> State() const { return source_->Current(); }
  [[nodiscard]] int Logged(std::string_view words) const {
    const std::string text = LogText();
    int count = 0;
    for (std::size_t at = text.find(words); at != std::string::npos;
         at = text.find(words, at + 1)) {
      ++count;
    }
    return count;
  }
  [[nodiscard]] Status Trouble() const { return source_->Report().trouble; }
  [[nodiscard]] bool CodeComes(const std::string& code) const {
    return Comes([&] { return StableCode(Trouble()) == code; });
  }
  [[nodiscard]] std::string LogText() const {
    return ReadFile(log_path_, std::size_t{1} << 24).value_or("");
  }
  template <typename F>
  auto World(F&& f) {
    return spire_.With(std::forward<F>(f));
  }

  const ScratchDirectory scratch_;
  const std::string bundle_ = scratch_.File("bundle.pem");
  const std::string log_path_ = scratch_.File("log");
  const Log log_ = Log::ToFile("test", LogLevel::kDebug, LogFormat::kText, log_path_);
  ShiftedClock clock_;
  FakeSpire spire_{"a"};
  std::unique_ptr<LiveSource> source_;
};

}  // namespace starling::testing
