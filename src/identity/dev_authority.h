// The development authority: a CA on one machine, for demo, run and tests. Its key is a file of
// mode 0600; its certificates are ordinary X.509-SVIDs, so nothing else in the system knows of it.
// One thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "identity/svid.h"

namespace starling {

class DevAuthority {
 public:
  // Loads ca-cert.pem and ca-key.pem from `directory`, or makes them for `trust_domain` (P-256, ten
  // years).
  static Result<DevAuthority> LoadOrCreate(const std::string& directory,
                                           const std::string& trust_domain, UtcTime now);
  static Result<DevAuthority> InMemory(const std::string& trust_domain, UtcTime now);
  DevAuthority(DevAuthority&&) noexcept;
  DevAuthority& operator=(DevAuthority&&) noexcept;
  ~DevAuthority();

  struct Request {
    std::string path = "/swarm/sl";
    std::vector<std::string> dns = {"localhost"};
    std::vector<std::string> ips = {"127.0.0.1", "::1"};
    UtcTime not_before;
    UtcTime not_after;
  };
  [[nodiscard]] Result<std::shared_ptr<const Svid>> Issue(const Request& request) const;
  // The same as files `<stem>-cert.pem`, `<stem>-key.pem` (0600) in `directory`, with the CA beside
  // them.
  [[nodiscard]] Result<PemFiles> IssueFiles(const Request& request, const std::string& directory,
                                            const std::string& stem) const;
  [[nodiscard]] Bundle bundle() const;
  [[nodiscard]] const std::string& trust_domain() const;

 private:
  struct Impl;
  explicit DevAuthority(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace starling
