#include "identity/spiffe/join_files.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "base/check.h"
#include "base/fs.h"
#include "base/owned.h"
#include "base/secrets.h"
#include "base/text.h"
#include "identity/join_state.h"

namespace starling {
namespace {

constexpr Duration kLook = std::chrono::seconds(5);

Status Awaited(std::string_view what, const std::string& path, std::string_view why) {
  return WithNext(
      WithCode(absl::UnavailableError(StrCat("waits for ", what, " in ", path, ": ", why)),
               "join-token-awaited"),
      "put it there; on Kubernetes starling spire-tokens does, beside the SPIRE server");
}

Result<std::string> Look(const JoinFiles& files) {
  Result<std::string> token = ReadSecretFile(files.token, "join token");
  if (absl::IsNotFound(token.status()))
    return Awaited("a join token", files.token, "there is no such file yet");
  if (StableCode(token.status()) == "no-secret")
    return Awaited("a join token", files.token, "it is empty yet");
  RETURN_IF_ERROR(token.status());
  if (files.bundle.empty()) return token;
  const Result<std::string> bundle = ReadFile(files.bundle);
  if (absl::IsNotFound(bundle.status()))
    return Awaited("the bundle of the SPIRE server", files.bundle, "there is no such file yet");
  RETURN_IF_ERROR(bundle.status());
  if (bundle->find_first_not_of(" \t\r\n") == std::string::npos)
    return Awaited("the bundle of the SPIRE server", files.bundle, "it is empty yet");
  return token;
}

}  // namespace

Result<std::string> AwaitJoinToken(const JoinFiles& files,
                                   const std::function<void(const Status&)>& waits,
                                   const Clock& clock, const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    // Begun before the files are read, so that a change after the reading is told; anew each time,
    // since links may lead elsewhere than before.
    PathWatch watch;
    watch.AddFile(files.token);
    if (!files.bundle.empty()) watch.AddFile(files.bundle);
    Result<std::string> token = Look(files);
    if (token.ok()) return token;
    waits(token.status());
    AwaitChange(watch, kLook, clock, stop);
  }
  return absl::CancelledError("stopped");
}

Result<std::string> ReadOtherToken(const std::string& path, LostAgentFacts facts) {
  Result<std::string> token = ReadSecretFile(path, "join token");
  if (!token.ok() && !absl::IsNotFound(token.status()) && StableCode(token.status()) != "no-secret")
    return WithNext(facts.loss, StrCat(NextStep(facts.loss), "; ", token.status().message()));
  facts.path = path;
  facts.file_hash = token.ok() ? TokenHash(*token) : "";
  RETURN_IF_ERROR(DecideLostAgent(facts));
  return token;
}

void AwaitChange(PathWatch& watch, Duration limit, const Clock& clock,
                 const std::stop_token& stop) {
  const UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  CHECK(wake.valid());
  const std::stop_callback ring(stop, [&] {
    const std::uint64_t one = 1;
    static_cast<void>(write(wake.get(), &one, sizeof one));
  });
  const Instant end = clock.Now() + limit;
  while (!stop.stop_requested() && clock.Now() < end) {
    const Duration left = end - clock.Now();
    pollfd entries[] = {{wake.get(), POLLIN, 0}, {watch.fd(), POLLIN, 0}};
    static_cast<void>(poll(entries, 2, static_cast<int>(Millis(left)) + 1));
    // Other names in the same folder wake it, too.
    if (watch.Take()) return;
  }
}

}  // namespace starling
