// AsyncRequests: a few HTTP requests at a time beside the caller's thread, for questions to many
// nodes that are answered soon or not at all. Threads are started as they are needed, at most
// `threads_max`; what comes beyond waits in a queue. Any thread; destruction gives up what is under
// way and calls nothing any more.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "http/client.h"

namespace starling {

class AsyncRequests {
 public:
  static constexpr std::size_t kQueuedMax = 10'000;
  using Answer = std::function<void(Result<nlohmann::json>)>;

  // Borrows `client`, whose time-outs bound each request.
  AsyncRequests(HttpClient& client, std::size_t threads_max)
      : client_(client), threads_max_(threads_max) {}
  ~AsyncRequests();
  AsyncRequests(const AsyncRequests&) = delete;
  AsyncRequests& operator=(const AsyncRequests&) = delete;

  // Never blocks; answers on one of our threads, with `to`'s error where it is one. False, and
  // never answered, when kQueuedMax questions wait.
  bool Ask(Result<Endpoint> to, ClientRequest request, Answer answer);

 private:
  struct Question {
    Result<Endpoint> to;
    ClientRequest request;
    Answer answer;
  };
  void Work(const std::stop_token& stop);

  HttpClient& client_;
  const std::size_t threads_max_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Question> queue_;
  std::size_t idle_ = 0;  // threads that wait for a question
  std::vector<std::jthread> threads_;
};

}  // namespace starling
