// Program: the training program beside an SL: it trains from the model that it loaded last, stands
// at a sync point, waits for the answer, and finishes after so many counted updates. It remembers
// across its own deaths how many were counted (a checkpoint), not the model. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "crypto/sha256.h"
#include "protocol/sl_decider.h"
#include "simulation/scene.h"

namespace starling::simulation {

class Program {
 public:
  struct Words {
    std::function<void()> opened;
    std::function<void(const ProgramSync&)> sync;
    std::function<void(const ProgramFinish&)> finish;
  };
  Program(Scene& scene, Host host, const Habits& habits, Words words);

  void Start(Duration opens_in);  // a new process
  void End() {
    ++life_;
    open_ = loaded_ = false;
  }
  void Answered(const AnswerEffect& answer, Position instance);
  void Attention();  // it hears of it at its next batch end

  [[nodiscard]] bool waits() const { return waiting_; }
  // Between an answer and its next request both arenas are the program's.
  [[nodiscard]] bool owns_arenas() const { return loaded_ && !waiting_ && !returned_; }
  [[nodiscard]] bool open() const { return open_; }
  [[nodiscard]] bool returned() const { return returned_; }
  [[nodiscard]] bool finishing() const { return finishing_; }
  [[nodiscard]] const std::optional<Digest>& update() const { return update_; }
  [[nodiscard]] std::uint64_t rounds_left() const {
    return counted_ < habits_.rounds ? habits_.rounds - counted_ : 0;
  }

 private:
  void TrainFor(Duration span);
  void Request();

  Scene& scene_;
  const Host host_;
  const Habits habits_;
  const Words words_;
  std::uint64_t life_ = 0;  // words of an earlier one are not said
  bool waiting_ = false;    // for an answer: both arenas are the SL's
  bool open_ = false;       // its session
  bool loaded_ = false;     // it was answered since it opened
  bool returned_ = false;
  bool finishing_ = false;
  std::optional<Digest> update_;  // the update arena
  std::optional<Digest> model_;   // loaded last
  Position instance_{-1};         // a new one is a new training: all counts from the beginning
  std::uint64_t counted_ = 0;
  std::uint64_t answers_ = 0;
  std::uint64_t requests_ = 0;
  std::uint64_t training_ = 0;  // the interval under way; an older one was cut short
  std::optional<Instant> interval_ends_;
};

}  // namespace starling::simulation
