#include "sl/puller.h"

#include <algorithm>
#include <utility>

#include "base/mailbox.h"
#include "base/text.h"
#include "protocol/progress.h"
#include "sl/access.h"
#include "sl/source_fault.h"

namespace starling {
namespace {

constexpr Duration kModelPatience = 40s;  // a holder may still be writing it down
constexpr Duration kPauseFirst = 20ms;    // before the same request again; doubles
constexpr Duration kPauseMax = 500ms;
constexpr int kRefusalsMax = 2;  // in a row
constexpr int kIdleAsksMax = 3;  // an owner that waits for others is asked so often in vain
constexpr std::int64_t kTokenLifeSeconds = 45;

// Worth a new connection: the network broke, or the other side is not ready yet.
bool IsPassing(const Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

bool IsNotReady(const Status& status) {
  const std::string code = StableCode(status);
  return code == "not-here" || code == "not-yet" || code == "no-identity" ||
         code == "peer-no-identity";
}

// Decides whether a failed request is made again: until the second refusal or reset in a row, for
// `stall` after the last progress, for `patience` when one of the two says that it is not ready
// yet.
class Retry {
 public:
  Retry(const Clock& clock, Duration stall, Duration patience)
      : clock_(clock), stall_(stall), patience_(patience), progress_(clock.Now()) {}

  void Progress() {
    progress_ = clock_.Now();
    pause_ = kPauseFirst;
    refusals_ = 0;
    cut_ = false;
  }
  // A span in which the source could not have done anything.
  void Excuse(Duration span) { progress_ += span; }
  // False when it is to be given up; else a short pause has passed.
  bool Again(const Status& status, const std::stop_token& stop) {
    // The certificates of the connection have ended, which is not the source's doing.
    if (StableCode(status) == "connection-too-old" && !std::exchange(cut_, true)) {
      progress_ = clock_.Now();
      return !stop.stop_requested();
    }
    const bool not_ready = IsNotReady(status);
    refusals_ = absl::IsUnavailable(status) && !not_ready ? refusals_ + 1 : 0;
    if (!IsPassing(status) || refusals_ >= kRefusalsMax) return false;
    if (clock_.Now() - progress_ > (not_ready ? patience_ : stall_)) return false;
    Mailbox<char> nobody;  // Only the stop can end this wait early.
    static_cast<void>(nobody.Pop(stop, pause_));
    pause_ = std::min(pause_ * 2, kPauseMax);
    return !stop.stop_requested();
  }

 private:
  const Clock& clock_;
  const Duration stall_;
  const Duration patience_;
  Instant progress_;
  Duration pause_ = kPauseFirst;
  int refusals_ = 0;
  bool cut_ = false;  // for its age, since the last progress
};

}  // namespace

// One ranged GET of whole chunks, resumable at each chunk.
struct Puller::Transfer {
  Endpoint from;
  std::string what;  // for errors: "update of b"
  std::string target;
  std::uint64_t size = 0;    // of the blob
  ChunkRun run;              // begin: the next chunk, as they come
  std::uint64_t offset = 0;  // of the resource's first byte in the blob: a run starts at 0
  std::function<std::string(std::uint64_t begin, std::uint64_t end)> authorization;  // may be empty
  Duration stall{};     // how long one silence may be
  Duration patience{};  // for the source to become ready
  std::function<Result<MutableByteSpan>(std::uint64_t chunk)> buffer;
  std::function<Status(std::uint64_t chunk, ByteSpan bytes)> check;
};

Result<Endpoint> Puller::EndpointOf(const std::string& url) const {
  return Endpoint::ParsePeer(url, deps_.allow_loopback);
}

std::string Puller::Token(const MergeJob& job, const Member& member, std::uint64_t begin,
                          std::uint64_t end) const {
  GetToken token;
  token.server = job.nodes.at(member.name).kid;
  token.root = *member.update;
  token.begin = begin;
  token.end = end;
  token.exp_unix_s = UnixMs(deps_.clock.UtcNow()) / 1000 + kTokenLifeSeconds;
  token.instance = job.instance;
  token.round = job.round;
  token.set = job.set;
  return "Bearer " + SignGetToken(deps_.key, token);
}

ClientRequest Puller::Request(std::string target, Duration patience) const {
  ClientRequest request;
  request.target = std::move(target);
  request.idle_timeout = patience;
  if (deps_.seen) request.headers["starling-seen"] = deps_.seen();
  return request;
}

Status Puller::Stream(Transfer& transfer, const std::stop_token& stop) const {
  std::uint64_t& chunk = transfer.run.begin;
  Retry retry(deps_.clock, transfer.stall, transfer.patience);
  Status last = absl::OkStatus();
  while (chunk < transfer.run.end) {
    if (!last.ok() && !retry.Again(last, stop)) return Annotate(last, transfer.what);
    if (stop.stop_requested()) return absl::CancelledError("the transfer was given up");
    const std::uint64_t begin = ChunkRange(transfer.size, chunk).begin;
    const std::uint64_t end = ChunkRange(transfer.size, transfer.run.end - 1).end;
    ClientRequest request = Request(transfer.target, transfer.stall);
    request.headers["range"] =
        StrCat("bytes=", begin - transfer.offset, "-", end - transfer.offset - 1);
    if (transfer.authorization)
      request.headers["authorization"] = transfer.authorization(begin, end);
    Result<std::unique_ptr<ResponseStream>> stream =
        deps_.client.Open(transfer.from, request, stop);
    last = stream.status();
    if (!last.ok()) continue;
    if ((*stream)->remaining() != end - begin)
      return absl::DataLossError(
          StrCat(transfer.what, ": ", (*stream)->remaining(), " bytes instead of ", end - begin));
    for (; chunk < transfer.run.end; ++chunk) {
      const Instant asked = deps_.clock.Now();
      ASSIGN_OR_RETURN(MutableByteSpan memory, transfer.buffer(chunk));
      retry.Excuse(deps_.clock.Now() - asked);
      memory = memory.first(ChunkRange(transfer.size, chunk).size());
      last = (*stream)->Read(memory);
      if (!last.ok()) break;
      RETURN_IF_ERROR(Annotate(transfer.check(chunk, memory), transfer.what));
      retry.Progress();
    }
  }
  return absl::OkStatus();
}

Duration Puller::Stall(AttemptId attempt) const { return Doubled(deps_.stall_timeout, attempt); }

Result<LeafList> Puller::UpdateLeaves(const MergeJob& job, const Member& member,
                                      const std::stop_token& stop) const {
  const auto failed = [&](const Status& status) {
    return WithSource(Annotate(status, StrCat("leaf list of the update of ", member.name.value())),
                      member.name);
  };
  // The tree of one leaf is that leaf.
  if (ChunkCount(job.size) == 1) return LeafList{*member.update};
  Result<Endpoint> from = EndpointOf(job.nodes.at(member.name).blob_url);
  if (!from.ok()) return failed(from.status());
  ClientRequest request =
      Request(StrCat("/v1/blobs/", RootText(*member.update), "/leaves"), Stall(job.attempt));
  request.headers["authorization"] = Token(job, member, 0, 0);
  const Result<Bytes> bytes = LeafBytes(*from, request, ChunkCount(job.size), stop);
  if (!bytes.ok()) return failed(bytes.status());
  Result<LeafList> leaves = DecodeLeaves(*bytes, job.size, *member.update);
  return leaves.ok() ? std::move(leaves) : failed(leaves.status());
}

// A leaf list of `count` leaves, whose length is checked before a byte of it is read.
Result<Bytes> Puller::LeafBytes(const Endpoint& from, const ClientRequest& request,
                                std::uint64_t count, const std::stop_token& stop) const {
  Retry retry(deps_.clock, request.idle_timeout, request.idle_timeout);
  Bytes bytes(count * 32);
  Status last;
  do {
    const Result<std::unique_ptr<ResponseStream>> stream = deps_.client.Open(from, request, stop);
    last = stream.status();
    if (!last.ok()) continue;
    if ((*stream)->remaining() != bytes.size()) {
      return absl::DataLossError(
          StrCat("a leaf list of ", (*stream)->remaining(), " bytes instead of ", bytes.size()));
    }
    last = (*stream)->Read(bytes);
    if (last.ok()) return bytes;
  } while (retry.Again(last, stop));
  return last;
}

Status Puller::UpdateChunks(const MergeJob& job, const Member& member,
                            std::span<const Digest> leaves, ChunkRun run, const BufferFor& buffer,
                            const Done& done, const std::stop_token& stop) const {
  Transfer transfer;
  Result<Endpoint> from = EndpointOf(job.nodes.at(member.name).blob_url);
  if (!from.ok()) return WithSource(from.status(), member.name);
  transfer.from = *std::move(from);
  transfer.what = StrCat("update of ", member.name.value());
  transfer.target = StrCat("/v1/blobs/", RootText(*member.update));
  transfer.size = job.size;
  transfer.run = run;
  transfer.authorization = [&](std::uint64_t begin, std::uint64_t end) {
    return Token(job, member, begin, end);
  };
  transfer.stall = transfer.patience = Stall(job.attempt);
  // A buffer that is not to be had is nobody's fault.
  Status own;
  transfer.buffer = [&](std::uint64_t chunk) {
    Result<MutableByteSpan> memory = buffer(chunk);
    if (!memory.ok()) own = memory.status();
    return memory;
  };
  transfer.check = [&](std::uint64_t chunk, ByteSpan bytes) -> Status {
    if (LeafOf(bytes) != leaves[chunk])
      return WithCode(absl::DataLossError(StrCat("chunk ", chunk, " does not match its leaf")),
                      "wrong-bytes");
    done(chunk);
    return absl::OkStatus();
  };
  Status status = Stream(transfer, stop);
  return own.ok() ? WithSource(std::move(status), member.name) : own;
}

// An owner that delivers nothing, or that gave its run up, may itself wait for others: whom it
// waits for, that node names.
bool Puller::Works(const MergeJob& job, const NodeName& owner, const Endpoint& at, Asked& asked,
                   const std::stop_token& stop) const {
  const ProbeAnswer answer = ProbeAnswerOf(deps_.client.DoJson(
      at, Request(StrCat("/v1/progress/", job.instance.value()), kProbeLimit), stop));
  if (!answer.answered()) return false;
  const Progress& now = *answer.progress;
  if (now.done_bytes > asked.done_bytes) {
    asked = {now.done_bytes, 0};
    return true;
  }
  const bool before_close = now.phase == Phase::kCollecting || now.round < job.round ||
                            (now.round == job.round && now.attempt < job.attempt);
  const bool waits = std::any_of(now.waiting_for.begin(), now.waiting_for.end(),
                                 [&](const NodeName& name) { return name != owner; });
  return (before_close || waits) && ++asked.in_vain <= kIdleAsksMax;
}

Result<LeafList> Puller::Run(const MergeJob& job, std::uint64_t owner, ChunkRun run,
                             MutableByteSpan blob,
                             const std::function<void(std::uint64_t)>& advance,
                             const std::stop_token& stop) const {
  LeafList leaves(run.end - run.begin);
  Transfer transfer;
  const NodeName& name = job.owners[owner];
  Result<Endpoint> from = EndpointOf(job.nodes.at(name).blob_url);
  if (!from.ok()) return WithSource(from.status(), name);
  transfer.from = *std::move(from);
  transfer.what = StrCat("merged model from ", name.value());
  transfer.target = StrCat("/merge/", job.instance.value(), "/", job.round.value(), "/",
                           HexOf(job.set), "/", owner);
  transfer.size = job.size;
  transfer.run = run;
  transfer.offset = run.begin * kChunkBytes;
  transfer.stall = transfer.patience = Stall(job.attempt);
  transfer.buffer = [&](std::uint64_t chunk) -> Result<MutableByteSpan> {
    const ByteRange range = ChunkRange(job.size, chunk);
    return blob.subspan(range.begin, range.size());
  };
  transfer.check = [&](std::uint64_t chunk, ByteSpan bytes) {
    leaves[chunk - run.begin] = LeafOf(bytes);
    advance(chunk - run.begin + 1);
    return absl::OkStatus();
  };
  Asked asked;
  const auto quiet = [&](const Status& status) {
    return IsPassing(status) && !stop.stop_requested() &&
           Works(job, name, transfer.from, asked, stop);
  };
  Status status;
  do status = Stream(transfer, stop);
  while (quiet(status));
  if (!status.ok()) return WithSource(std::move(status), name);
  Result<Bytes> list = absl::UnavailableError("");
  do {
    list = LeafBytes(transfer.from, Request(transfer.target + "/leaves", transfer.stall),
                     leaves.size(), stop);
  } while (quiet(list.status()));
  if (!list.ok()) return WithSource(Annotate(list.status(), transfer.what + ": leaf list"), name);
  if (EncodeLeaves(leaves) != *list) {
    return WithSource(
        WithCode(
            absl::DataLossError(transfer.what + ": the bytes do not match the owner's leaf list"),
            "wrong-bytes"),
        name);
  }
  return leaves;
}

Result<LeafList> Puller::Model(const Digest& root, const std::vector<std::string>& urls,
                               MutableByteSpan blob, const std::stop_token& stop) const {
  Status last =
      absl::UnavailableError(StrCat("model ", ShortText(root), ": no node is known to hold it"));
  for (const std::string& url : urls) {
    const Result<Endpoint> from = EndpointOf(url);
    last = from.status();
    if (!last.ok()) continue;
    const Result<Bytes> list =
        LeafBytes(*from, Request(StrCat("/v1/blobs/", RootText(root), "/leaves"), kModelPatience),
                  ChunkCount(blob.size()), stop);
    last = list.status();
    if (!last.ok()) continue;
    Result<LeafList> leaves = DecodeLeaves(*list, blob.size(), root);
    last = leaves.status();
    if (!last.ok()) continue;
    Transfer transfer;
    transfer.from = *from;
    transfer.what = StrCat("model ", ShortText(root), " from ", url);
    transfer.target = StrCat("/v1/blobs/", RootText(root));
    transfer.size = blob.size();
    transfer.run = {0, ChunkCount(blob.size())};
    transfer.stall = transfer.patience = deps_.stall_timeout;
    transfer.buffer = [&](std::uint64_t chunk) -> Result<MutableByteSpan> {
      const ByteRange range = ChunkRange(blob.size(), chunk);
      return blob.subspan(range.begin, range.size());
    };
    transfer.check = [&](std::uint64_t chunk, ByteSpan bytes) {
      return LeafOf(bytes) == (*leaves)[chunk]
                 ? absl::OkStatus()
                 : WithCode(
                       absl::DataLossError(StrCat("chunk ", chunk, " does not match its leaf")),
                       "wrong-bytes");
    };
    last = Stream(transfer, stop);
    if (last.ok()) return leaves;
  }
  return last;
}

}  // namespace starling
