#include "http/async_requests.h"

#include <utility>

namespace starling {

AsyncRequests::~AsyncRequests() {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();
}

bool AsyncRequests::Ask(Result<Endpoint> to, ClientRequest request, Answer answer) {
  const std::scoped_lock lock(mutex_);
  if (queue_.size() >= kQueuedMax) return false;
  queue_.push_back({std::move(to), std::move(request), std::move(answer)});
  if (idle_ < queue_.size() && threads_.size() < threads_max_)
    threads_.emplace_back([this](const std::stop_token& stop) { Work(stop); });
  changed_.notify_one();
  return true;
}

void AsyncRequests::Work(const std::stop_token& stop) {
  for (;;) {
    std::optional<Question> taken;
    {
      std::unique_lock lock(mutex_);
      ++idle_;
      changed_.wait(lock, stop, [this] { return !queue_.empty(); });
      --idle_;
      if (stop.stop_requested()) return;
      taken = std::move(queue_.front());
      queue_.pop_front();
    }
    Question& question = *taken;
    Result<nlohmann::json> answer = question.to.ok()
                                        ? client_.DoJson(*question.to, question.request, stop)
                                        : question.to.status();
    if (stop.stop_requested()) return;
    question.answer(std::move(answer));
  }
}

}  // namespace starling
