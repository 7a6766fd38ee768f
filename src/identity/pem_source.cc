#include "identity/pem_source.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/owned.h"
#include "base/text.h"
#include "crypto/sha256.h"
#include "identity/expiry.h"
#include "identity/path_watch.h"
#include "identity/pem_files.h"

namespace starling {
namespace {

constexpr int kBurstMax = 25;  // quiet spans that a change may last before it is read all the same

// Equal for the same bytes in the same files.
std::string HashOf(const PemTexts& texts) {
  PartsHash hash;
  hash.Add(texts.cert).Add(texts.key);
  for (const PemTexts::Ca& ca : texts.cas) hash.Add(ca.file.path).Add(ca.text);
  return HexOf(hash.Finish());
}

// What one look found.
struct Look {
  Result<std::shared_ptr<const IdentityState>> state;
  // Equal when nothing is new: of the bytes and of what came of them. Not of the words, in which
  // the present time may stand.
  std::string mark;
};

Look LookAt(const PemFiles& files, UtcTime at) {
  const Result<PemTexts> texts = ReadPemTexts(files);
  if (!texts.ok()) return {texts.status(), std::string(texts.status().message())};
  Result<std::shared_ptr<const IdentityState>> state = IdentityOf(files, *texts, at);
  std::string mark = StrCat(HashOf(*texts), " ", state.ok() ? "ok" : StableCode(state.status()));
  return {std::move(state), std::move(mark)};
}

class PemSource final : public LiveSource {
 public:
  PemSource(PemFiles files, const Clock& clock, Log log, PemWatchOptions options)
      : LiveSource("PEM files", clock, std::move(log)),
        files_(std::move(files)),
        options_(std::move(options)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    CHECK(wake_.valid());
  }

  // The first look, then the thread.
  Status Start() {
    std::optional<PathWatch> watch = Watch();
    Look first = LookAt(files_, clock().UtcNow());
    RETURN_IF_ERROR(first.state.status());
    Take(std::move(first));
    thread_ = std::jthread([this, begun = std::move(watch)](const std::stop_token& stop) mutable {
      Run(stop, std::move(begun));
    });
    return absl::OkStatus();
  }

 private:
  std::optional<PathWatch> Watch() {
    if (!options_.inotify) return std::nullopt;
    PathWatch watch;
    watch.AddFile(files_.cert);
    watch.AddFile(files_.key);
    for (const CaFile& file : CaFilesIn(files_.cacert)) watch.AddFile(file.path);
    if (!files_.capath.empty()) watch.AddFolder(files_.capath);
    if (!watch.problem().ok() && watch.problem() != watch_problem_) {
      log().Warning("changes of the PEM files may be seen {} s late: {}",
                    Millis(options_.slow_look) / 1000, ErrorLine(watch.problem(), "identity"));
    }
    watch_problem_ = watch.problem();
    return watch;
  }

  void Run(const std::stop_token& stop, std::optional<PathWatch> watch) {
    const std::stop_callback wake(stop, [this] {
      const std::uint64_t one = 1;
      static_cast<void>(write(wake_.get(), &one, sizeof one));
    });
    while (!stop.stop_requested()) {
      AwaitChange(stop, watch);
      if (stop.stop_requested()) return;
      // Begun before the files are read, so that a change after the reading is told.
      watch = Watch();
      Take(LookAt(files_, clock().UtcNow()));
    }
  }

  // Whether something can be read before `span` is over or a stop wakes us.
  bool Poll(const std::optional<PathWatch>& watch, Duration span) const {
    pollfd entries[] = {{wake_.get(), POLLIN, 0}, {watch ? watch->fd() : -1, POLLIN, 0}};
    const std::int64_t ms = std::clamp<std::int64_t>(Millis(span), 0, 3'600'000);
    return poll(entries, 2, static_cast<int>(ms)) > 0;
  }

  // Returns when the paths have changed and are quiet again, or when it is time to look anyway.
  void AwaitChange(const std::stop_token& stop, std::optional<PathWatch>& watch) const {
    const Duration span = bad_since_ ? options_.retry : options_.slow_look;
    const Instant begin = clock().Now();
    bool changed = false;
    while (!changed) {
      const Duration left = span - (clock().Now() - begin);
      if (left <= Duration::zero() || !Poll(watch, left) || stop.stop_requested()) return;
      changed = watch.has_value() && watch->Take();
    }
    for (int i = 0; i < kBurstMax && Poll(watch, options_.quiet) && !stop.stop_requested(); ++i) {
      static_cast<void>(watch->Take());
    }
  }

  void Take(Look look) {
    const Status status = look.state.status();
    if (look.mark == settled_) {
      bad_since_.reset();
    } else if (status.ok()) {
      Adopt(*std::move(look.state));
      settled_ = std::move(look.mark);
      bad_since_.reset();
    } else {
      if (!bad_since_) bad_since_ = clock().Now();
      if (clock().Now() - *bad_since_ >= options_.settle) {
        SetTrouble(status);
        settled_ = std::move(look.mark);
        bad_since_.reset();
      }
    }
    for (const std::string& line : reminder_.Due(*Current(), clock().UtcNow())) {
      log().Warning("identity: {}", line);
    }
    if (options_.looked) options_.looked(status);
  }

  void Adopt(std::shared_ptr<const IdentityState> state) {
    const std::shared_ptr<const Svid> before = Current()->svid;
    if (before != nullptr && before->id != state->svid->id) {
      log().Warning("identity: {} holds another SPIFFE ID than before: {} instead of {}",
                    files_.cert, state->svid->id.text(), before->id.text());
    }
    Publish(std::move(state));
  }

  const PemFiles files_;
  const PemWatchOptions options_;
  const UniqueFd wake_;
  // Of the thread, and of Start() before it.
  Status watch_problem_;
  std::string settled_;               // the mark of what is held, or of the trouble that was told
  std::optional<Instant> bad_since_;  // there is something bad that is no trouble yet
  ExpiryReminder reminder_;
  std::jthread thread_;
};

}  // namespace

Result<std::unique_ptr<SvidSource>> LoadPemSource(const PemFiles& files, UtcTime at) {
  ASSIGN_OR_RETURN(const PemTexts texts, ReadPemTexts(files));
  ASSIGN_OR_RETURN(std::shared_ptr<const IdentityState> state, IdentityOf(files, texts, at));
  return MakeFixedSource(std::move(state));
}

Result<std::unique_ptr<LiveSource>> WatchPemFiles(const PemFiles& files, const Clock& clock,
                                                  Log log, PemWatchOptions options) {
  auto source = std::make_unique<PemSource>(files, clock, std::move(log), std::move(options));
  RETURN_IF_ERROR(source->Start());
  return std::unique_ptr<LiveSource>(std::move(source));
}

}  // namespace starling
