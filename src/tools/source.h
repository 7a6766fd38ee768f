// Where a story comes from: a run's directory (its SN's ledger), a ledger file, or files of models
// and updates below a directory. One thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "http/client.h"
#include "ledger/ledger.h"
#include "tools/story.h"

namespace starling {

// `path`: a ledger.db, or a directory with one in it or one level below ("sn/ledger.db").
[[nodiscard]] Result<std::string> FindLedger(const std::string& path);
[[nodiscard]] Result<Story> ReadStory(const std::string& ledger_path);

// The records from `from` on that an SN has; waits up to `wait` for the first of them.
[[nodiscard]] Result<std::vector<LedgerRecord>> FetchRecords(HttpClient& client, const Endpoint& sn,
                                                             std::int64_t from, Duration wait,
                                                             const std::stop_token& stop);

// A blob on disk; what it should hold is in its name: <round>-<64 hex digits>.safetensors.
struct StoredBlob {
  std::string path;
  Digest root;
};
// All of them below the given paths ("models" and "updates" folders of nodes), by root; several
// copies of one root are all kept.
[[nodiscard]] Result<std::multimap<Digest, StoredBlob>> FindBlobs(
    const std::vector<std::string>& paths);
// The check of one file: OK, or which chunk differs (by the leaf list kept beside it,
// `<file>.leaves`), or that the list is altered itself.
[[nodiscard]] Status CheckBlob(const StoredBlob& blob);

}  // namespace starling
