#include "identity/spiffe/workload_source.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <filesystem>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include "base/bytes.h"
#include "base/check.h"
#include "base/text.h"
#include "grpc/support/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/create_channel_posix.h"
#include "grpcpp/support/async_stream.h"
#include "grpcpp/support/channel_arguments.h"
#include "identity/spiffe/quiet_grpc.h"
#include "identity/spiffe/workload.grpc.pb.h"
#include "identity/spiffe_state.h"

namespace starling {
namespace {

constexpr Duration kLookEvery = std::chrono::milliseconds(500);  // for another socket at the path

// The newest of the times since which an agent that works must have said something of `svid`. It
// renews at half the life, whatever cut that life short, so the first is at three quarters; one
// whose server is away has nothing new, but says on a new stream at once what it has.
std::optional<UtcTime> DueSince(const Svid& svid, UtcTime now, Duration every_min) {
  using Span = UtcTime::duration;  // Nanoseconds would not hold the life of every certificate.
  const Span quarter = (svid.not_after - svid.not_before) / 4;
  const UtcTime first = svid.not_after - quarter;
  if (now < first) return std::nullopt;
  const Span every = std::max({quarter, std::chrono::ceil<Span>(every_min), Span(1)});
  return first + (now - first) / every * every;
}

WorkloadState TakeFields(X509SVIDResponse& response) {
  WorkloadState raw;
  for (X509SVID& svid : *response.mutable_svids()) {
    raw.svids.push_back({.id = std::move(*svid.mutable_spiffe_id()),
                         .chain = std::move(*svid.mutable_x509_svid()),
                         .key = std::move(*svid.mutable_x509_svid_key()),
                         .bundle = std::move(*svid.mutable_bundle()),
                         .hint = std::move(*svid.mutable_hint())});
  }
  for (auto& [domain, bundle] : *response.mutable_federated_bundles()) {
    raw.federated.emplace(domain, std::move(bundle));
  }
  return raw;
}

// What an operator makes a registration entry of.
Status NoIdentity(const std::string& said) {
  std::error_code error;
  const std::string path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  return WithNext(WithCode(absl::PermissionDeniedError(StrCat(
                               "no identity for this process: no registration entry matches (user ",
                               getuid(), ", group ", getgid(), ", process ", getpid(), ", ", path,
                               "; the agent says: ", said, ")")),
                           "no-identity"),
                  StrCat("make an entry with selectors of it: unix:uid:", getuid(), ", unix:gid:",
                         getgid(), ", unix:path:", path, "; on Kubernetes those of its pod"));
}

// The end of a stream as a trouble of ours.
Status Ended(const grpc::Status& status, int message_bytes_max) {
  const std::string said = Printable(status.error_message());
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return WithNext(absl::UnavailableError("the agent has ended the stream"),
                      "look at the SPIRE agent");
    case grpc::StatusCode::PERMISSION_DENIED:
      return NoIdentity(said);
    case grpc::StatusCode::INVALID_ARGUMENT:
      return WithNext(absl::InvalidArgumentError(StrCat("the agent refuses the request: ", said)),
                      "is something between us and the agent that drops the header "
                      "workload.spiffe.io?");
    case grpc::StatusCode::UNIMPLEMENTED:
      return WithNext(
          absl::UnimplementedError(StrCat("whoever answers serves no Workload API: ", said)),
          "give the socket of the agent's Workload API, not another one of it");
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return WithNext(
          absl::ResourceExhaustedError(StrCat("the agent's message is refused (at most ",
                                              message_bytes_max, " bytes are taken): ", said)),
          "have fewer registration entries match this process");
    case grpc::StatusCode::UNAVAILABLE:
      return WithNext(absl::UnavailableError(StrCat("the agent is not available: ", said)),
                      "look at the SPIRE agent");
    default:
      return WithNext(Status(static_cast<absl::StatusCode>(status.error_code()),
                             StrCat("the agent's error: ", said)),
                      "look at the log of the SPIRE agent");
  }
}

// One stream. Every operation that was begun is awaited before the queue goes, as gRPC wants it.
class Stream {
 public:
  Stream(UniqueFd socket, int message_bytes_max) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(message_bytes_max);
    arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
    // Over a connection of our own: gRPC resolves no name, asks no proxy, waits for no back-off.
    channel_ = grpc::CreateCustomInsecureChannelFromFd("workload", socket.release(), arguments);
    stub_ = SpiffeWorkloadAPI::NewStub(channel_);
    context_.AddMetadata("workload.spiffe.io", "true");
    reader_ = stub_->PrepareAsyncFetchX509SVID(&context_, X509SVIDRequest(), &queue_);
    reader_->StartCall(this);
    pending_ = true;
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    context_.TryCancel();
    queue_.Shutdown();
    void* tag = nullptr;
    bool good = false;
    while (queue_.Next(&tag, &good)) {
    }
  }

  void Cancel() { context_.TryCancel(); }  // any thread

  enum class Event : std::uint8_t { kMessage, kSilence, kEnd };
  // Waits for the next message, at most `span` where one is given.
  Event Next(std::optional<Duration> span) {
    while (true) {
      if (!pending_) {
        message_.Clear();
        reader_->Read(&message_, this);
        pending_ = true;
      }
      const std::optional<bool> good = Await(span);
      if (!good) return Event::kSilence;
      pending_ = false;
      if (!*good) break;
      if (std::exchange(started_, true)) return Event::kMessage;
    }
    reader_->Finish(&status_, this);
    CHECK(Await(std::nullopt).has_value());
    return Event::kEnd;
  }
  X509SVIDResponse& message() { return message_; }
  [[nodiscard]] const grpc::Status& status() const { return status_; }  // after kEnd

 private:
  // Whether the operation that is under way worked; nothing when `span` came first.
  std::optional<bool> Await(std::optional<Duration> span) {
    void* tag = nullptr;
    bool good = false;
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (span) {
      deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                              gpr_time_from_nanos(span->count(), GPR_TIMESPAN));
    }
    const auto next = queue_.AsyncNext(&tag, &good, deadline);
    if (next == grpc::CompletionQueue::TIMEOUT) return std::nullopt;
    CHECK(next == grpc::CompletionQueue::GOT_EVENT);
    return good;
  }

  grpc::CompletionQueue queue_;
  grpc::ClientContext context_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<SpiffeWorkloadAPI::Stub> stub_;
  X509SVIDResponse message_;
  grpc::Status status_;
  bool pending_ = false;
  bool started_ = false;
  std::unique_ptr<grpc::ClientAsyncReader<X509SVIDResponse>> reader_;
};

class WorkloadSource final : public LiveSource {
 public:
  WorkloadSource(std::string endpoint, const WorkloadOptions& options, const Clock& clock, Log log)
      : LiveSource(StrCat("SPIFFE Workload API ", endpoint), clock, std::move(log)),
        endpoint_(std::move(endpoint)),
        options_(options),
        thread_([this](const std::stop_token& stop) { Run(stop); }) {}

 private:
  void Run(const std::stop_token& stop) {
    try {
      WatchForever(stop);
    } catch (const std::exception& error) {
      Fail(absl::InternalError(StrCat("the watch has ended: ", error.what())));
    }
  }

  void WatchForever(const std::stop_token& stop) {
    Duration pause = options_.retry_min;
    while (!stop.stop_requested()) {
      bool heard = false;
      const Status end = WatchOnce(stop, heard);
      if (stop.stop_requested()) return;
      if (heard) pause = options_.retry_min;
      if (end.ok()) continue;
      if (absl::IsInvalidArgument(end)) return Fail(end);
      if (StableCode(end) == "no-identity") {
        Withdraw(end);
      } else {
        SetTrouble(end);
      }
      Pause(pause, stop);
      pause = std::min(pause * 2, options_.retry_max);
    }
  }

  // One connection and its stream until that ends, and why; OK: another is worth it at once.
  Status WatchOnce(const std::stop_token& stop, bool& heard) {
    ASSIGN_OR_RETURN(UniqueFd socket, Connection(stop));
    Stream stream(std::move(socket), options_.message_bytes_max);
    const std::stop_callback cancel(stop, [&stream] { stream.Cancel(); });
    const Duration look_every = std::min(kLookEvery, options_.silence_max);
    Duration silent{};
    while (true) {
      switch (stream.Next(look_every)) {
        case Stream::Event::kEnd:
          return Ended(stream.status(), options_.message_bytes_max);
        case Stream::Event::kMessage:
          heard = true;
          heard_at_ = clock().UtcNow();
          TakeIn(TakeFields(stream.message()));
          break;
        case Stream::Event::kSilence:
          silent += look_every;
          if (OthersConnection(stop)) return absl::OkStatus();
          // Silence is named only on a stream that never spoke: a new one makes sure.
          if (Overdue() && (heard || silent >= options_.retry_max)) return absl::OkStatus();
          if (!heard && silent >= options_.silence_max) SetTrouble(Silent());
          break;
      }
    }
  }

  Result<UniqueFd> Connection(const std::stop_token& stop) {
    other_.clear();
    if (next_.valid()) return std::move(next_);
    seen_ = SocketFingerprint(endpoint_);
    return ConnectToWorkloadEndpoint(endpoint_, stop);
  }

  // Whether somebody else listens at the path than the one whose stream is open, who may live on
  // without a name; then `next_` is the connection. At the second look only, since a socket is
  // there before anybody listens. Until somebody does, an old stream is better than none.
  bool OthersConnection(const std::stop_token& stop) {
    const std::string now = SocketFingerprint(endpoint_);
    if (now.empty() || now == seen_ || std::exchange(other_, now) != now) return false;
    Result<UniqueFd> socket = ConnectToWorkloadEndpoint(endpoint_, stop);
    if (!socket.ok()) return false;
    seen_ = now;
    next_ = *std::move(socket);
    return true;
  }

  // Whether an agent that works would have said something by now.
  [[nodiscard]] bool Overdue() const {
    const std::shared_ptr<const IdentityState> held = Current();
    if (held->svid == nullptr) return false;
    const auto due = DueSince(*held->svid, clock().UtcNow(), options_.retry_max);
    return due && heard_at_ < *due;
  }

  [[nodiscard]] Status Silent() const {
    if (Overdue()) {
      const bool expired = Current()->svid->not_after <= clock().UtcNow();
      return WithNext(
          absl::UnavailableError(StrCat(
              "the agent has said nothing since ", FormatUtc(heard_at_), ", and our certificate ",
              expired ? "has expired" : "is past three quarters of its life")),
          "look whether the SPIRE agent hangs, and start it again");
    }
    return WithNext(absl::UnavailableError(StrCat("the agent takes the connection but has said "
                                                  "nothing for ",
                                                  Millis(options_.silence_max), " ms")),
                    "is it the agent's socket, and does the agent reach its server?");
  }

  void TakeIn(const WorkloadState& raw) {
    Result<WorkloadIdentity> identity = ReadWorkloadState(raw, options_.choice, clock().UtcNow());
    if (!identity.ok()) {
      return SetTrouble(Annotate(identity.status(), "the agent's message is not taken"));
    }
    if (!identity->left_out.empty() && identity->left_out != left_out_) {
      log().Warning("identity: of the agent's message this is left out: {}", identity->left_out);
    }
    left_out_ = identity->left_out;
    Publish(std::move(identity->state), identity->trouble);
  }

  void Pause(Duration span, const std::stop_token& stop) const {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    while (span > Duration::zero() && !stop.stop_requested()) {
      const Duration step = std::min(span, kLookEvery);
      never.wait_for(lock, stop, step, [] { return false; });
      span -= step;
      const std::string now = SocketFingerprint(endpoint_);
      if (!now.empty() && now != seen_) return;
    }
  }

  const std::string endpoint_;
  const WorkloadOptions options_;
  // The thread's:
  std::string left_out_;
  std::string seen_;     // fingerprint of the socket that was connected to, or tried
  std::string other_;    // of another one at the path, at the last look
  UniqueFd next_;        // to connect by, where that was done already
  UtcTime heard_at_;     // the last message
  std::jthread thread_;  // Last: ends before what it uses.
};

}  // namespace

Result<std::unique_ptr<LiveSource>> StartWorkloadSource(const WorkloadOptions& options,
                                                        const Clock& clock, Log log) {
  ASSIGN_OR_RETURN(std::string endpoint, ParseWorkloadEndpoint(options.address));
  QuietGrpc();
  return std::make_unique<WorkloadSource>(std::move(endpoint), options, clock, std::move(log));
}

}  // namespace starling
