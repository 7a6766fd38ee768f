// A SPIFFE Workload API of a test's own: says what the test scripts, to whoever sends the header.
// Any thread.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "grpcpp/server_context.h"
#include "identity/spiffe/quiet_grpc.h"
#include "identity/spiffe/workload.grpc.pb.h"
#include "identity/spiffe_state.h"

namespace starling::testing {

class FakeWorkloadApi final : private SpiffeWorkloadAPI::Service {
 public:
  // `listen`: "unix:/path", or "127.0.0.1:0" for a free port. Serves at once, and is silent until
  // the first Push() or Answer().
  explicit FakeWorkloadApi(std::string listen) : listen_(std::move(listen)) { Start(); }
  ~FakeWorkloadApi() override { Stop(); }

  // Every stream that is open gets each push in order; a new one begins with the last.
  void Push(const std::vector<SvidFields>& svids,
            const std::map<std::string, std::string>& federated = {}) {
    X509SVIDResponse response;
    for (const SvidFields& fields : svids) {
      X509SVID& svid = *response.add_svids();
      svid.set_spiffe_id(fields.id);
      svid.set_x509_svid(fields.chain);
      svid.set_x509_svid_key(fields.key);
      svid.set_bundle(fields.bundle);
      svid.set_hint(fields.hint);
    }
    for (const auto& [domain, bundle] : federated) {
      (*response.mutable_federated_bundles())[domain] = bundle;
    }
    const std::scoped_lock lock(mutex_);
    answer_.reset();
    hangs_ = false;
    pushed_.push_back(std::move(response));
    changed_.notify_all();
  }
  // Ends every stream with it, until the next Push().
  void Answer(const grpc::Status& status) {
    const std::scoped_lock lock(mutex_);
    answer_ = status;
    changed_.notify_all();
  }
  // Takes connections and says nothing, not even to new streams, until the next Push().
  void Hang() {
    const std::scoped_lock lock(mutex_);
    hangs_ = true;
  }
  // As an agent ends and is started again. The socket's file goes and comes.
  void Stop() {
    if (server_ == nullptr) return;
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
      changed_.notify_all();
    }
    server_->Shutdown(gpr_inf_past(GPR_CLOCK_MONOTONIC));
    server_.reset();
  }
  void Start() {
    QuietGrpc();
    stopping_ = false;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(listen_, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    CHECK(server_ != nullptr);
  }
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] int streams() const {
    const std::scoped_lock lock(mutex_);
    return streams_;
  }

 private:
  grpc::Status FetchX509SVID(grpc::ServerContext* context, const X509SVIDRequest* /*request*/,
                             grpc::ServerWriter<X509SVIDResponse>* writer) override {
    const auto header = context->client_metadata().find("workload.spiffe.io");
    if (header == context->client_metadata().end() || header->second != "true") {
      return {grpc::StatusCode::INVALID_ARGUMENT, "security header missing from request"};
    }
    std::unique_lock lock(mutex_);
    ++streams_;
    std::size_t next = std::max<std::size_t>(pushed_.size(), 1) - 1;
    while (true) {
      // A client that goes away shows only when one looks.
      changed_.wait_for(lock, std::chrono::milliseconds(10),
                        [&] { return stopping_ || answer_ || (!hangs_ && next < pushed_.size()); });
      if (stopping_) return {grpc::StatusCode::UNAVAILABLE, "shutting down"};
      if (context->IsCancelled()) return grpc::Status::CANCELLED;
      if (answer_) return *answer_;
      if (hangs_ || next == pushed_.size()) continue;
      const X509SVIDResponse response = pushed_[next++];
      lock.unlock();
      const bool written = writer->Write(response);
      lock.lock();
      if (!written) return grpc::Status::CANCELLED;
    }
  }

  const std::string listen_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<X509SVIDResponse> pushed_;
  std::optional<grpc::Status> answer_;
  int streams_ = 0;
  bool stopping_ = false;
  bool hangs_ = false;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace starling::testing
