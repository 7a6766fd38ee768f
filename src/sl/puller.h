// Puller: bytes from other SLs, by the routes of docs/formats/http.md, each chunk checked as it
// comes. A broken connection is resumed with Range until it is refused twice in a row, or less than
// 64 KiB have come within `stall_timeout` (doubled with each attempt of the round). A failure names
// the node at fault (sl/source_fault.h). Any thread.
#pragma once

#include <functional>
#include <stop_token>

#include "base/clock.h"
#include "crypto/ed25519.h"
#include "crypto/merkle.h"
#include "http/client.h"
#include "protocol/sl_decider.h"

namespace starling {

struct PullerDeps {
  HttpClient& client;
  const Clock& clock;
  const SigningKey& key;
  Duration stall_timeout = 5s;
  bool allow_loopback = false;
  std::function<std::string()> seen;  // Starling-Seen of each request; may be empty
};

class Puller {
 public:
  explicit Puller(const PullerDeps& deps) : deps_(deps) {}

  // Where another node's blob_url leads; link-local addresses are refused, loopback ones unless
  // they are allowed.
  [[nodiscard]] Result<Endpoint> EndpointOf(const std::string& url) const;

  // The leaf list of a member's update, checked against its root.
  [[nodiscard]] Result<LeafList> UpdateLeaves(const MergeJob& job, const Member& member,
                                              const std::stop_token& stop) const;
  // Chunks [run.begin, run.end) of a member's update, in order. `buffer(chunk)` gives the memory,
  // `done(chunk)` hears that it is full and right.
  using BufferFor = std::function<Result<MutableByteSpan>(std::uint64_t chunk)>;
  using Done = std::function<void(std::uint64_t chunk)>;
  [[nodiscard]] Status UpdateChunks(const MergeJob& job, const Member& member,
                                    std::span<const Digest> leaves, ChunkRun run,
                                    const BufferFor& buffer, const Done& done,
                                    const std::stop_token& stop) const;

  // An owner's run of M, straight into `blob`; answers its leaves, equal to the owner's list.
  // `advance(chunks done)`.
  [[nodiscard]] Result<LeafList> Run(const MergeJob& job, std::uint64_t owner, ChunkRun run,
                                     MutableByteSpan blob,
                                     const std::function<void(std::uint64_t)>& advance,
                                     const std::stop_token& stop) const;
  // A sealed model from one of `urls`, straight into `blob`, checked leaf by leaf.
  [[nodiscard]] Result<LeafList> Model(const Digest& root, const std::vector<std::string>& urls,
                                       MutableByteSpan blob, const std::stop_token& stop) const;

 private:
  struct Transfer;
  [[nodiscard]] ClientRequest Request(std::string target, Duration patience) const;
  [[nodiscard]] Result<Bytes> LeafBytes(const Endpoint& from, const ClientRequest& request,
                                        std::uint64_t count, const std::stop_token& stop) const;
  [[nodiscard]] Status Stream(Transfer& transfer, const std::stop_token& stop) const;
  // What an owner's progress has shown so far.
  struct Asked {
    std::uint64_t done_bytes = 0;
    int in_vain = 0;  // times in a row
  };
  [[nodiscard]] bool Works(const MergeJob& job, const NodeName& owner, const Endpoint& at,
                           Asked& asked, const std::stop_token& stop) const;
  // The longest silence in this attempt.
  [[nodiscard]] Duration Stall(AttemptId attempt) const;
  [[nodiscard]] std::string Token(const MergeJob& job, const Member& member, std::uint64_t begin,
                                  std::uint64_t end) const;

  PullerDeps deps_;
};

}  // namespace starling
