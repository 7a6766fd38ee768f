// For tests of the SL's transfers: sites, each with a board, a store and a blob server on loopback
// as a learning node has them, but without its loop: the test itself says what the log says.
#pragma once

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/scratch_testing.h"
#include "base/text.h"
#include "gtest/gtest.h"
#include "http/http_testing.h"
#include "sl/blob_server.h"
#include "sl/merge_worker.h"

namespace starling {

// Three chunks of all the shapes of elements that matter.
inline Layout TestLayout() {
  return *Layout::Make({{"weights", DType::kF32, {600'000}},
                        {"halves", DType::kF16, {1000}},
                        {"brains", DType::kBF16, {3, 333}},
                        {"steps", DType::kI64, {5}},
                        {"flags", DType::kBool, {7}}});
}

// Random bits in every tensor: floats of all sizes, infinities and NaNs among them.
inline Bytes TestModel(const Layout& layout, std::uint64_t seed) {
  SeededRandom random(seed);
  Bytes blob(layout.size());
  random.Fill(blob);
  std::memcpy(blob.data(), layout.header().data(), layout.header().size());
  for (const TensorPlace& tensor : layout.tensors()) {
    if (tensor.spec.dtype != DType::kBool) continue;
    for (std::uint64_t i = tensor.begin; i < tensor.end; ++i) blob[i] &= std::byte{1};
  }
  return blob;
}

class Site {
 public:
  Site(const std::string& name, std::uint64_t seed, const Clock& clock,
       const DevAuthority& authority, std::shared_ptr<const Layout> layout)
      : name_(name),
        clock_(clock),
        authority_(authority),
        key_(MakeKeyOf(seed)),
        store_(*BlobStore::Open(scratch_.path(), 10)),
        party_(clock, NewIdentity(std::chrono::hours(1)), PeerPolicy{{}, {"*/sl", "*/operator"}}),
        client_(*party_.tls, HttpClientOptions{}),
        server_({board_, *store_, clock, key_.kid(), PeerPolicy{{}, {"*/operator"}},
                 PeerPolicy{{}, {"*/sn"}}}) {
    arenas_.layout = std::move(layout);
    arenas_.update = *Arena::Create(arenas_.layout->size());
    arenas_.merged = *Arena::Create(arenas_.layout->size());
    server_.SetArenas(arenas_);
    HttpServerOptions options;
    options.address = "127.0.0.1";
    const auto handle = [this](const HttpRequest& request, const std::stop_token& stop) {
      return before_ ? before_(request, stop) : server_.Handle(request, stop);
    };
    http_ = *HttpServer::Start(options, party_.tls.get(), handle, Log());
  }

  // The program's update, as it would stand in the arena.
  Digest Offer(const Bytes& model) {
    std::memcpy(arenas_.update->mutable_blob().data(), model.data(), model.size());
    auto leaves = std::make_shared<LeafList>(LeavesOf(model));
    own_ = OfferedUpdate{RootOfLeaves(*leaves), {arenas_.update->blob(), arenas_.update}, leaves};
    board_.Offer(own_);
    return own_->root;
  }
  // The model of the round before: in the arena and on the disk.
  Digest Hold(RoundId round, const Bytes& model) {
    std::memcpy(arenas_.merged->mutable_blob().data(), model.data(), model.size());
    const LeafList leaves = LeavesOf(model);
    EXPECT_TRUE(store_->KeepModel(round, RootOfLeaves(leaves), model, leaves, false).ok());
    holds_base_ = true;
    return RootOfLeaves(leaves);
  }
  Result<MergeOutcome> Compute(const MergeJob& job, const std::stop_token& stop = {}) {
    const Puller puller({client_, clock_, key_, 5s, true, {}});
    const NodeName self{name_};
    return ComputeMerge(job,
                        {self, *arenas_.layout, own_ ? &*own_ : nullptr,
                         arenas_.merged->mutable_blob(), holds_base_, *store_},
                        puller, board_, clock_, stop);
  }
  // Every request passes through here first, where a test misbehaves.
  void SetBefore(HttpHandler before) { before_ = std::move(before); }
  HttpResponse Serve(const HttpRequest& request, const std::stop_token& stop) const {
    return server_.Handle(request, stop);
  }
  [[nodiscard]] Node AsNode(std::uint64_t weight) const {
    Node node;
    node.name = NodeName{name_};
    node.key = key_.public_key();
    node.kid = key_.kid();
    node.blob_url = endpoint().Url();
    node.spiffe_id = StrCat("spiffe://swarm.local/swarm/", name_, "/sl");
    node.weight = weight;
    node.present = true;
    return node;
  }
  // A new certificate, as from a source that renews it.
  void Renew(Duration life) { party_.source.Set(NewIdentity(life)); }
  [[nodiscard]] Endpoint endpoint() const { return {"127.0.0.1", http_->port()}; }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const SigningKey& key() const { return key_; }
  [[nodiscard]] HttpClient& client() { return client_; }
  [[nodiscard]] Board& board() { return board_; }
  [[nodiscard]] BlobStore& store() { return *store_; }
  [[nodiscard]] SharedArenas& arenas() { return arenas_; }

 private:
  static SigningKey MakeKeyOf(std::uint64_t seed) {
    SeededRandom random(seed);
    return SigningKey::Generate(random);
  }

  [[nodiscard]] std::shared_ptr<const IdentityState> NewIdentity(Duration life) const {
    return MakeState(clock_, authority_, {&authority_},
                     {.path = "/swarm/" + name_ + "/sl", .valid_for = life});
  }

  const ScratchDirectory scratch_;
  const std::string name_;
  const Clock& clock_;
  const DevAuthority& authority_;
  const SigningKey key_;
  Board board_;
  const std::unique_ptr<BlobStore> store_;
  Party party_;
  HttpClient client_;
  BlobServer server_;
  SharedArenas arenas_;
  std::optional<OfferedUpdate> own_;
  bool holds_base_ = false;
  HttpHandler before_;
  std::unique_ptr<HttpServer> http_;  // last: it uses what is above
};

}  // namespace starling
