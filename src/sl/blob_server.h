// BlobServer: the SL's HTTP routes (docs/formats/http.md): updates and runs straight from the
// arenas, kept models from their files; no copy of a model. The handlers run on the connections'
// threads and read the Board.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "http/server.h"
#include "sl/access.h"
#include "sl/blob_store.h"
#include "sl/board.h"
#include "sl/kept_log.h"
#include "tensor/arena.h"
#include "tensor/layout.h"

namespace starling {

struct BlobServerDeps {
  Board& board;
  const BlobStore& store;
  const Clock& clock;
  std::string kid;               // of our ledger key
  PeerPolicy operators;          // may list and fetch models
  PeerPolicy network_nodes;      // may ask for the progress and for entries
  const KeptLog* log = nullptr;  // none: no entries are shown
};

// What the program's `open` fixed: known only from then on.
struct SharedArenas {
  std::shared_ptr<Arena> update;
  std::shared_ptr<Arena> merged;
  std::shared_ptr<const Layout> layout;
};

class BlobServer {
 public:
  explicit BlobServer(BlobServerDeps deps);
  [[nodiscard]] HttpResponse Handle(const HttpRequest& request, const std::stop_token& stop) const {
    return router_.Handle(request, stop);
  }
  void SetArenas(SharedArenas arenas);

 private:
  [[nodiscard]] HttpResponse Blob(const RouteMatch& match, bool leaves) const;
  [[nodiscard]] HttpResponse Update(const RouteMatch& match, const OfferedUpdate& update,
                                    bool leaves) const;
  [[nodiscard]] Result<Asker> AskerOf(const RouteMatch& match,
                                      std::shared_ptr<const Contract>& contract) const;
  [[nodiscard]] bool IsPast(const RunKey& key) const;
  void AwaitKept(const Digest& root, const std::stop_token& stop) const;
  [[nodiscard]] HttpResponse Model(const RouteMatch& match, const Digest& root, bool leaves) const;
  [[nodiscard]] HttpResponse Run(const RouteMatch& match) const;
  [[nodiscard]] HttpResponse RunLeaves(const RouteMatch& match) const;
  [[nodiscard]] HttpResponse Progress(const RouteMatch& match) const;
  [[nodiscard]] HttpResponse Models(const RouteMatch& match) const;
  [[nodiscard]] HttpResponse Schema(const RouteMatch& match) const;
  [[nodiscard]] HttpResponse Entries(const RouteMatch& match) const;
  [[nodiscard]] Status MayHaveModels(const HttpRequest& request) const;
  [[nodiscard]] std::shared_ptr<const SharedArenas> arenas() const;
  // Is this range of an update the asker's? Waits for the run's leaves where an auditor asks.
  [[nodiscard]] bool MayHaveRange(const Contract& contract, const Asker& asker, ByteRange range,
                                  const std::stop_token& stop) const;

  BlobServerDeps deps_;
  mutable std::mutex mutex_;
  std::shared_ptr<const SharedArenas> arenas_;
  Router router_;
};

}  // namespace starling
