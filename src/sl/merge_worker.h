// MergeWorker: computes M of one closed round (docs/protocol.md, "A round"): merges the runs that
// this SL owns chunk by chunk, pulls the others straight into the merged arena, audits, and answers
// root and leaves. Memory: a window of chunks and the merger's accumulators. Runs on the caller's
// thread.
#pragma once

#include <memory>
#include <stop_token>

#include "sl/blob_store.h"
#include "sl/board.h"
#include "sl/puller.h"
#include "tensor/arena.h"
#include "tensor/merge.h"

namespace starling {

struct MergeInputs {
  const NodeName& self;
  const Layout& layout;
  const OfferedUpdate* own = nullptr;  // null: an active or inactive node
  MutableByteSpan merged;              // the arena's blob; holds the base when `arena_has_base`
  bool arena_has_base = false;
  const BlobStore& store;  // else the base comes from here
};

struct MergeOutcome {
  Digest root;
  std::shared_ptr<const LeafList> leaves;
  MergedReport report;
  // OK, or why the runs of others could not be checked against the updates; code `wrong-merge`:
  // they were, and are not their merge. M is in the arena all the same.
  Status audit;
};

[[nodiscard]] Result<MergeOutcome> ComputeMerge(const MergeJob& job, const MergeInputs& inputs,
                                                const Puller& puller, Board& board,
                                                const Clock& clock, const std::stop_token& stop);

}  // namespace starling
