#include "simulation/program.h"

#include <utility>

#include "base/text.h"
#include "simulation/checker.h"

namespace starling::simulation {

Program::Program(Scene& scene, Host host, const Habits& habits, Words words)
    : scene_(scene), host_(host), habits_(habits), words_(std::move(words)) {}

void Program::Start(Duration opens_in) {
  const std::uint64_t life = ++life_;
  waiting_ = open_ = loaded_ = returned_ = finishing_ = false;
  update_.reset();
  model_.reset();
  interval_ends_.reset();
  ++training_;
  scene_.network.At(host_, opens_in, "opens", [this, life] {
    if (life != life_) return;
    open_ = true;
    words_.opened();
    TrainFor(habits_.interval);
  });
}

void Program::TrainFor(Duration span) {
  interval_ends_ = scene_.world.Now() + span;
  scene_.network.At(host_, span, "syncs", [this, life = life_, training = ++training_] {
    if (life == life_ && training == training_ && !waiting_) Request();
  });
}

void Program::Request() {
  ++training_;
  ++requests_;
  waiting_ = true;
  interval_ends_.reset();
  update_ = PartsHash()
                .Add("update")
                .Add(habits_.name.value())
                .Add(requests_)
                .Add(model_.value_or(Digest{}))
                .Finish();
  scene_.checker.Trained(*update_, model_);
  CheckinReport report;
  report.train_ms = static_cast<std::uint64_t>(Millis(habits_.interval));
  finishing_ = counted_ >= habits_.rounds;
  scene_.Tell(StrCat(habits_.name.value(), "'s program ", finishing_ ? "finishes" : "syncs",
                     ", update ", ShortText(*update_)));
  if (finishing_) {
    words_.finish(ProgramFinish{habits_.mode, *update_, report});
  } else {
    words_.sync(ProgramSync{*update_, report});
  }
}

void Program::Answered(const AnswerEffect& answer, Position instance) {
  const std::string& name = habits_.name.value();
  if (!waiting_) return scene_.checker.Fail(StrCat("answer: ", name, " answers nobody"));
  if (finishing_ && !answer.over) {
    scene_.checker.Fail(StrCat("answer: ", name, " had finished and is told to go on"));
  }
  const bool first = name == "n0";
  if (scene_.fault == Fault::kForgetsAnAnswer && first && ++answers_ == 2) return;
  waiting_ = false;
  loaded_ = true;
  model_ = answer.root;
  if (std::exchange(instance_, instance) != instance) counted_ = 0;
  counted_ += answer.counted ? 1U : 0U;
  scene_.Tell(StrCat(name, "'s program loads ", ShortText(answer.root), " of round ",
                     answer.round.value(), answer.counted ? ", counted" : "",
                     answer.over ? ", over" : ""));
  const bool early = scene_.fault == Fault::kReturnsTooEarly && counted_ == habits_.rounds;
  if (answer.over || early) {
    returned_ = true;
    scene_.checker.Returned(habits_.name, instance, answer.root);
    return;
  }
  // Before it finishes it trains a part of one interval more.
  TrainFor(counted_ < habits_.rounds ? habits_.interval : habits_.interval / 2);
}

void Program::Attention() {
  if (waiting_ || returned_ || !interval_ends_) return;
  const Duration batch = habits_.interval / static_cast<Duration::rep>(habits_.batches);
  if (scene_.world.Now() + batch < *interval_ends_) TrainFor(batch);
}

}  // namespace starling::simulation
