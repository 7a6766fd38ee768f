#include "sl/blob_server.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/limits.h"
#include "base/text.h"
#include "crypto/json.h"

namespace starling {
namespace {

constexpr Duration kRunPatience =
    20s;  // how long a request waits for a merge that has not begun here
constexpr Duration kNewsPatience = 2s;     // … for a close that the asker has read already
constexpr Duration kKeepPatience = 30s;    // … for the newest model to be on the disk
constexpr Duration kLeavesPatience = 50s;  // … for a run to be complete

HttpResponse Binary(Bytes bytes) {
  HttpResponse response;
  response.headers["content-type"] = "application/octet-stream";
  response.body = ToString(bytes);
  return response;
}

Result<std::uint64_t> ParseNumber(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > kJsonIntegerMax)
    return absl::InvalidArgumentError("a whole number is expected in the path");
  return value;
}

Result<RunKey> ParseRunKey(const std::map<std::string, std::string>& parameters) {
  RunKey key;
  ASSIGN_OR_RETURN(const std::uint64_t instance, ParseNumber(parameters.at("instance")));
  ASSIGN_OR_RETURN(const std::uint64_t round, ParseNumber(parameters.at("round")));
  ASSIGN_OR_RETURN(key.set, ParseHexDigest(parameters.at("set")));
  ASSIGN_OR_RETURN(key.owner, ParseNumber(parameters.at("owner")));
  key.instance = Position{static_cast<std::int64_t>(instance)};
  key.round = RoundId{round};
  return key;
}

}  // namespace

BlobServer::BlobServer(BlobServerDeps deps) : deps_(std::move(deps)) {
  router_.Add("GET", "/v1/blobs/{root}", [this](const RouteMatch& m) { return Blob(m, false); })
      .Add("GET", "/v1/blobs/{root}/leaves", [this](const RouteMatch& m) { return Blob(m, true); })
      .Add("GET", "/merge/{instance}/{round}/{set}/{owner}",
           [this](const RouteMatch& m) { return Run(m); })
      .Add("GET", "/merge/{instance}/{round}/{set}/{owner}/leaves",
           [this](const RouteMatch& m) { return RunLeaves(m); })
      .Add("GET", "/v1/progress/{instance}", [this](const RouteMatch& m) { return Progress(m); })
      .Add("GET", "/v1/schema/{root}", [this](const RouteMatch& m) { return Schema(m); })
      .Add("GET", "/v1/entries", [this](const RouteMatch& m) { return Entries(m); })
      .Add("GET", "/v1/models", [this](const RouteMatch& m) { return Models(m); });
}

void BlobServer::SetArenas(SharedArenas arenas) {
  const std::scoped_lock lock(mutex_);
  arenas_ = std::make_shared<const SharedArenas>(std::move(arenas));
}

std::shared_ptr<const SharedArenas> BlobServer::arenas() const {
  const std::scoped_lock lock(mutex_);
  return arenas_;
}

Status BlobServer::MayHaveModels(const HttpRequest& request) const {
  if (request.peer && deps_.operators.Allows(*request.peer)) return absl::OkStatus();
  return CheckEnrolled(deps_.board.contract().get(), request.peer);
}

bool BlobServer::MayHaveRange(const Contract& contract, const Asker& asker, ByteRange range,
                              const std::stop_token& stop) const {
  if (IsOwnRun(contract, asker.name, range)) return true;
  // An auditor asks for one whole chunk; nothing else is worth a wait.
  const std::uint64_t size = contract.rules.size.value_or(0);
  const std::uint64_t chunk = range.begin / kChunkBytes;
  if (chunk >= ChunkCount(size) || ChunkRange(size, chunk) != range) return false;
  for (std::uint64_t owner = 0; owner < OwnersOf(contract).size(); ++owner) {
    const std::optional<RunProgress> run = deps_.board.WaitForLeaves(
        {contract.instance, contract.round, contract.set, owner}, kLeavesPatience, stop);
    if (run && run->leaves &&
        IsAuditedChunk(contract, asker.name, owner, RootOfLeaves(*run->leaves), range))
      return true;
  }
  return false;
}

HttpResponse BlobServer::Blob(const RouteMatch& match, bool leaves) const {
  const Result<Digest> root = ParseRoot(match.parameters.at("root"));
  if (!root.ok()) return ProblemResponse(root.status());
  // A bearer token asks for an update; without one only a merged model can be meant.
  const bool wants_update = !match.request.Header("authorization").empty();
  std::optional<OfferedUpdate> update = deps_.board.Offered(*root);
  if (!update && wants_update) {
    // From before a restart, or of a program that has ended.
    Result<BlobStore::Blob> kept = deps_.store.OpenUpdate(*root);
    if (kept.ok())
      update = OfferedUpdate{*root, kept->slice,
                             std::make_shared<const LeafList>(std::move(kept->leaves))};
  }
  if (update && (wants_update || !deps_.store.FindModel(*root)))
    return Update(match, *update, leaves);
  return Model(match, *root, leaves);
}

// Who asks for an update, by its token and the newest `contract`. The asker may have read the close
// before this node did: then its news is waited for, once or twice.
Result<Asker> BlobServer::AskerOf(const RouteMatch& match,
                                  std::shared_ptr<const Contract>& contract) const {
  contract = deps_.board.contract();
  if (contract == nullptr) return absl::NotFoundError("no such blob here");
  const std::string authorization = match.request.Header("authorization");
  const Instant until = deps_.clock.Now() + kNewsPatience;
  for (;;) {
    Result<Asker> asker = CheckToken(authorization, {*contract, deps_.kid, deps_.clock.UtcNow()});
    const Duration left = until - deps_.clock.Now();
    if (asker.ok() || StableCode(asker.status()) != "not-yet" || left <= Duration::zero() ||
        match.stop.stop_requested())
      return asker;
    contract = deps_.board.WaitForOtherContract(contract, left, match.stop);
  }
}

HttpResponse BlobServer::Update(const RouteMatch& match, const OfferedUpdate& update,
                                bool leaves) const {
  std::shared_ptr<const Contract> contract;
  const Result<Asker> asker = AskerOf(match, contract);
  if (!asker.ok()) return ProblemResponse(asker.status());
  if (asker->token.root != update.root)
    return ProblemResponse(
        WithCode(absl::PermissionDeniedError("the token is for another blob"), "not-for-you"));
  // Updates of other rounds, and of other trainings, are on the disk too.
  const Node* const self = contract->FindKid(deps_.kid);
  const Member* const member = self == nullptr ? nullptr : contract->FindMember(self->name);
  if (member == nullptr || member->update != update.root) {
    return ProblemResponse(WithCode(
        absl::PermissionDeniedError("this update is no part of the round"), "not-for-you"));
  }
  if (leaves) return Binary(EncodeLeaves(*update.leaves));
  const Result<std::optional<ByteRange>> range =
      ParseRange(match.request.Header("range"), update.slice.bytes.size());
  if (!range.ok()) return ProblemResponse(range.status());
  const ByteRange wanted = range->value_or(ByteRange{0, update.slice.bytes.size()});
  const bool as_stated = asker->token.begin == wanted.begin && asker->token.end == wanted.end;
  if (!as_stated || !MayHaveRange(*contract, *asker, wanted, match.stop)) {
    return ProblemResponse(WithCode(
        absl::PermissionDeniedError(StrCat("these bytes of the update are not for ",
                                           asker->name.value(),
                                           ": owners get their run, others their audited chunks")),
        "not-for-you"));
  }
  return BlobResponse(match.request, update.slice);
}

// A node that is known to hold the newest model may still be writing it down.
void BlobServer::AwaitKept(const Digest& root, const std::stop_token& stop) const {
  const std::shared_ptr<const Contract> contract = deps_.board.contract();
  if (contract == nullptr || contract->base != root) return;
  const Node* const self = contract->FindKid(deps_.kid);
  if (self == nullptr || !contract->holders.contains(self->name)) return;
  static_cast<void>(deps_.board.WaitUntil([&] { return deps_.store.FindModel(root).has_value(); },
                                          kKeepPatience, stop));
}

HttpResponse BlobServer::Model(const RouteMatch& match, const Digest& root, bool leaves) const {
  if (const Status may = MayHaveModels(match.request); !may.ok()) return ProblemResponse(may);
  AwaitKept(root, match.stop);
  Result<BlobStore::Blob> blob = deps_.store.OpenModel(root);
  if (!blob.ok()) return ProblemResponse(blob.status());
  if (leaves) return Binary(EncodeLeaves(blob->leaves));
  return BlobResponse(match.request, blob->slice);
}

// Nobody will merge this run any more, and it is not here.
bool BlobServer::IsPast(const RunKey& key) const {
  const std::shared_ptr<const Contract> contract = deps_.board.contract();
  const bool past = contract == nullptr || contract->instance != key.instance ||
                    contract->phase == Phase::kDone || key.round < contract->round;
  return past && !deps_.board.WaitForBegin(key, Duration::zero(), {});
}

// Bytes of a run as they are merged. The arena may be overwritten by a later merge meanwhile; then
// the run is unknown to the board and the stream breaks off.
HttpResponse BlobServer::Run(const RouteMatch& match) const {
  if (const Status may = MayHaveModels(match.request); !may.ok()) return ProblemResponse(may);
  const Result<RunKey> key = ParseRunKey(match.parameters);
  if (!key.ok()) return ProblemResponse(key.status());
  if (IsPast(*key)) return ProblemResponse(absl::NotFoundError("that merge is over"));
  const std::optional<RunProgress> begun = deps_.board.WaitForBegin(*key, kRunPatience, match.stop);
  const std::shared_ptr<const SharedArenas> shared = arenas();
  if (!begun || begun->failed || shared == nullptr)
    return ProblemResponse(
        WithCode(absl::UnavailableError("this run is not being merged here"), "not-here"));
  const std::uint64_t size = shared->layout->size();
  const std::uint64_t run_begin = begun->run.begin * kChunkBytes;
  const std::uint64_t run_end = std::min(size, begun->run.end * kChunkBytes);
  const Result<std::optional<ByteRange>> range =
      ParseRange(match.request.Header("range"), run_end - run_begin);
  if (!range.ok()) return ProblemResponse(range.status());
  const ByteRange wanted = range->value_or(ByteRange{0, run_end - run_begin});
  HttpResponse response;
  response.status = *range ? 206 : 200;
  response.headers["content-type"] = "application/octet-stream";
  if (*range)
    response.headers["content-range"] =
        StrCat("bytes ", wanted.begin, "-", wanted.end - 1, "/", run_end - run_begin);
  const std::shared_ptr<Arena> arena = shared->merged;
  response.body = StreamedBody{
      wanted.size(),
      [this, key = *key, wanted, run_begin, arena](BodySink& sink,
                                                   const std::stop_token& stop) -> Status {
        for (std::uint64_t at = wanted.begin; at < wanted.end;) {
          const std::uint64_t chunk = at / kChunkBytes;
          const std::optional<RunProgress> progress =
              deps_.board.WaitForRun(key, chunk, kLeavesPatience, stop);
          if (!progress || progress->failed || progress->done <= chunk)
            return WithCode(absl::UnavailableError("the run was given up"), "not-here");
          const std::uint64_t ready = std::min(wanted.end, progress->done * kChunkBytes);
          const std::uint64_t step = std::min(ready, (chunk + 1) * kChunkBytes);
          RETURN_IF_ERROR(sink.Write(arena->blob().subspan(run_begin + at, step - at)));
          at = step;
        }
        return absl::OkStatus();
      }};
  return response;
}

HttpResponse BlobServer::RunLeaves(const RouteMatch& match) const {
  if (const Status may = MayHaveModels(match.request); !may.ok()) return ProblemResponse(may);
  const Result<RunKey> key = ParseRunKey(match.parameters);
  if (!key.ok()) return ProblemResponse(key.status());
  if (IsPast(*key)) return ProblemResponse(absl::NotFoundError("that merge is over"));
  const std::optional<RunProgress> run =
      deps_.board.WaitForLeaves(*key, kLeavesPatience, match.stop);
  if (!run || !run->leaves)
    return ProblemResponse(
        WithCode(absl::UnavailableError("this run is not complete here"), "not-here"));
  return Binary(EncodeLeaves(*run->leaves));
}

HttpResponse BlobServer::Progress(const RouteMatch& match) const {
  const std::shared_ptr<const Contract> contract = deps_.board.contract();
  const std::optional<SpiffeId>& peer = match.request.peer;
  if (!peer || !deps_.network_nodes.Allows(*peer)) {
    if (const Status may = MayHaveModels(match.request); !may.ok()) return ProblemResponse(may);
  }
  const Result<std::uint64_t> instance = ParseNumber(match.parameters.at("instance"));
  if (!instance.ok()) return ProblemResponse(instance.status());
  std::optional<starling::Progress> progress = deps_.board.ProgressNow(deps_.clock.Now());
  if (contract == nullptr || !progress ||
      contract->instance.value() != static_cast<std::int64_t>(*instance))
    return ProblemResponse(absl::NotFoundError("no such training here"));
  progress->time_unix_ms = UnixMs(deps_.clock.UtcNow());
  return JsonResponse(ProgressJson(*progress));
}

HttpResponse BlobServer::Models(const RouteMatch& match) const {
  if (const Status may = MayHaveModels(match.request); !may.ok()) return ProblemResponse(may);
  Json models = Json::array();
  for (const BlobStore::Kept& kept : deps_.store.Models())
    models.push_back(
        {{"round", kept.round.value()}, {"root", RootText(kept.root)}, {"bytes", kept.bytes}});
  return JsonResponse({{"models", models}});
}

// The header that a schema stands for: names, dtypes and shapes only, so that a newcomer can be
// told what differs.
HttpResponse BlobServer::Schema(const RouteMatch& match) const {
  const std::shared_ptr<const SharedArenas> shared = arenas();
  const Result<Digest> root = ParseRoot(match.parameters.at("root"));
  if (!root.ok() || shared == nullptr || shared->layout->schema() != *root)
    return ProblemResponse(absl::NotFoundError("no such schema here"));
  HttpResponse response;
  response.headers["content-type"] = "application/octet-stream";
  response.body = shared->layout->header();
  return response;
}

// For an SN that has lost its newest entries.
HttpResponse BlobServer::Entries(const RouteMatch& match) const {
  if (!match.request.peer || !deps_.network_nodes.Allows(*match.request.peer)) {
    return ProblemResponse(
        WithCode(absl::PermissionDeniedError("only network nodes may ask this"), "wrong-path"));
  }
  const auto from = match.request.query.find("from");
  const Result<std::uint64_t> position =
      from == match.request.query.end() ? std::uint64_t{0} : ParseNumber(from->second);
  if (!position.ok()) return ProblemResponse(position.status());
  const Result<LedgerPage> page = deps_.log == nullptr
                                      ? absl::NotFoundError("no entries are kept here")
                                      : deps_.log->Page(static_cast<std::int64_t>(*position));
  return page.ok() ? JsonResponse(LedgerPageJson(*page)) : ProblemResponse(page.status());
}

}  // namespace starling
