// Transfers: how one process of an SL gets bytes from others: pulls that break off, stall, trickle
// or bring wrong bytes; the merge and the fetch that are made of them. It stands for src/sl's
// puller and merge worker, and so keeps to sections 3 and 9 of docs/protocol.md about what a stall
// is. One thread; dies with its process.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "protocol/sl_decider.h"
#include "simulation/scene.h"

namespace starling::simulation {

// Bytes that somebody asks for.
struct Wanted {
  enum class What : std::uint8_t { kUpdate, kRun, kModel };
  What what = What::kModel;
  Digest root;  // of an update or a model
  Digest set;   // of a run
  Position seen;
};
enum class Quality : std::uint8_t { kGood, kBreaksOff, kStalls, kTrickles, kWrong };
// What a server answers before the first byte.
struct Offer {
  enum class Code : std::uint8_t { kBytes, kNotYet, kRefused };
  Code code = Code::kRefused;
  Digest root;  // of what comes: a run has the root that its owner says
  Quality quality = Quality::kGood;
  Duration takes{};
};

class Transfers {
 public:
  Transfers(Scene& scene, class Sl& sl) : scene_(scene), sl_(sl) {}
  Transfers(const Transfers&) = delete;
  Transfers& operator=(const Transfers&) = delete;

  void Merge(const MergeJob& job);
  void Fetch(const Digest& root, const std::vector<NodeName>& holders);
  void Abandon() { ++task_; }
  // The writes behind are done: what waits for the arena goes on.
  void OnKept();
  // Sources that the merge under way waits for.
  [[nodiscard]] std::vector<NodeName> waiting_for() const;

 private:
  struct Pull {
    NodeName source;
    Wanted wanted;
    Duration patience{};  // silence that makes a stall; 0: the caller tries another source
    std::uint64_t task = 0;
    int refusals = 0;  // in a row
    int rounds_of_silence = 0;
    Duration silent{};  // so far
    Duration done{};    // of the body
    bool failed = false;
    std::function<void(const Digest&)> got;
    std::function<void(StallWhy)> fails;
  };
  using PullRef = std::shared_ptr<Pull>;
  struct Working {
    MergeJob job;
    std::map<NodeName, PullRef> pulls;  // not done
    std::map<NodeName, StallWhy> failures;
    bool telling = false;
    std::optional<Digest> run;  // the owner's, whose root it says
  };

  void Begin(const std::function<void()>& begin);
  void ClearArena();
  void Lead();
  void Follow();
  void Audit();
  void PullUpdates(const std::function<void()>& all);
  void Merged(const Digest& root);
  void Failed(const NodeName& source, StallWhy why);
  void FetchFrom(const Digest& root, std::vector<NodeName> sources);
  [[nodiscard]] bool HasHere(const Digest& root) const;
  // One pull, again and again until it has the bytes.
  void Try(const PullRef& pull);
  void OnOffer(const PullRef& pull, const Answer<Offer>& answer);
  void Body(const PullRef& pull, const Offer& offer, std::uint64_t life);
  void Refused(const PullRef& pull);
  void Silent(const PullRef& pull, Duration span);
  void AskProgress(const PullRef& pull);
  void Again(const PullRef& pull, Duration pause);

  Scene& scene_;
  Sl& sl_;
  std::uint64_t task_ = 0;  // the newest; an older one has been stopped
  std::optional<Working> working_;
  std::function<void()> begins_when_kept_;
};

}  // namespace starling::simulation
