// NeededModels: which merged models on the disk a training still needs, whatever --keep-models
// says: the base, which merges read, its predecessor, which audits may read, and what the attempts
// of an open round have made: a vote says that this node holds it. One thread.
#pragma once

#include <map>
#include <optional>
#include <set>

#include "protocol/state.h"

namespace starling {

class NeededModels {
 public:
  // A model that this process is about to keep. What an earlier one kept for the open round is
  // named by Found: it is needed too, but it may belong to an older training.
  void Made(const Digest& root, RoundId round) { made_[root] = {round, true}; }
  void Found(const Digest& root, RoundId round) { made_.emplace(root, Attempt{round, false}); }

  struct Models {
    std::set<Digest> needed;
    std::set<Digest> useless;  // made by this process for a round that has another root by now
  };
  // Once the log stands at `contract`. Each useless model is named once.
  [[nodiscard]] Models At(const Contract& contract);

 private:
  struct Attempt {
    RoundId round;
    bool here = false;
  };
  std::map<Digest, Attempt> made_;  // of rounds that were open
  std::optional<Position> instance_;
};

}  // namespace starling
