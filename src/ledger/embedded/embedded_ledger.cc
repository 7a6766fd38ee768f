// The embedded home: one SQLite file at the sentinel. WAL and synchronous=FULL: an append is on the
// disk when it returns. One row an entry; a row's checksum chains over head and time, so a changed
// time stamp shows too.
#include "ledger/embedded/embedded_ledger.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <system_error>

#include "base/errno.h"
#include "base/owned.h"
#include "crypto/running_head.h"
#include "ledger/limits.h"
#include "sqlite3.h"

namespace starling {
namespace {

using Connection = Owned<sqlite3, &sqlite3_close>;
using Query = Owned<sqlite3_stmt, &sqlite3_finalize>;
constexpr int kFormat = 1;
constexpr int kBusyMillis = 2000;

Status FromSqlite(sqlite3* connection, const std::string& path) {
  const int code = sqlite3_errcode(connection);
  const std::string text = StrCat(path, ": ", sqlite3_errmsg(connection));
  if (code == SQLITE_FULL)
    return WithNext(WithCode(absl::ResourceExhaustedError(text), "disk-full"),
                    "free space on this disk; nothing was appended");
  if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
    return WithNext(WithCode(absl::FailedPreconditionError(
                                 StrCat(text, ": another process holds a lock on this file")),
                             "ledger-locked"),
                    "end the program that has it open (a backup, a database browser: fuser names "
                    "it); appends go on by themselves");
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
    return WithCode(absl::DataLossError(text), "ledger-altered");
  return absl::UnavailableError(text);
}

Result<Connection> OpenConnection(const std::string& path, int flags) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  Connection connection(raw);
  if (code != SQLITE_OK) return FromSqlite(raw, path);
  static_cast<void>(sqlite3_busy_timeout(raw, kBusyMillis));
  return connection;
}

Status Execute(sqlite3* connection, const char* sql, const std::string& path) {
  return sqlite3_exec(connection, sql, nullptr, nullptr, nullptr) == SQLITE_OK
             ? absl::OkStatus()
             : FromSqlite(connection, path);
}

Result<Query> Prepare(sqlite3* connection, const char* sql, const std::string& path) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v3(connection, sql, -1, SQLITE_PREPARE_PERSISTENT, &raw, nullptr) !=
      SQLITE_OK)
    return FromSqlite(connection, path);
  return Query(raw);
}

Digest Checksum(const Digest& previous, const Digest& head, std::int64_t time_unix_ms) {
  Bytes time;
  AppendU64(static_cast<std::uint64_t>(time_unix_ms), time);
  Sha256 hash;
  hash.Update(previous.span());
  hash.Update(head.span());
  hash.Update(time);
  return hash.Finish();
}

bool ReadDigest(sqlite3_stmt* row, int column, Digest& out) {
  if (sqlite3_column_type(row, column) != SQLITE_BLOB || sqlite3_column_bytes(row, column) != 32)
    return false;
  const auto* const bytes = static_cast<const std::byte*>(sqlite3_column_blob(row, column));
  std::copy(bytes, bytes + 32, out.bytes.begin());
  return true;
}

struct Row {
  LedgerRecord record;
  Digest checksum;
};
Result<Row> ReadRow(sqlite3_stmt* row, const std::string& path) {
  Row out;
  out.record.position = sqlite3_column_int64(row, 0);
  out.record.time_unix_ms = sqlite3_column_int64(row, 1);
  const auto* const text = static_cast<const char*>(sqlite3_column_blob(row, 3));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(row, 3));
  if (!ReadDigest(row, 2, out.record.head) || !ReadDigest(row, 4, out.checksum) ||
      text == nullptr) {
    return WithCode(
        absl::DataLossError(StrCat(path, ": entry ", out.record.position, ": its row is damaged")),
        "ledger-altered");
  }
  out.record.entry.assign(text, size);
  return out;
}

constexpr const char* kSelect =
    "SELECT position, time_unix_ms, head, entry, checksum FROM entries WHERE position >= ?1 ORDER "
    "BY position LIMIT ?2";

// Every entry from the first, the heads and checksums checked. `each` may be empty.
struct Chain {
  LedgerEnd end;
  Digest checksum{};
  std::int64_t time_unix_ms = 0;
};
Result<Chain> Walk(sqlite3* connection, const std::string& path,
                   std::vector<LedgerRecord>* records) {
  ASSIGN_OR_RETURN(const Query query, Prepare(connection, kSelect, path));
  sqlite3_bind_int64(query.get(), 1, INT64_MIN);
  sqlite3_bind_int64(query.get(), 2, -1);
  Chain chain;
  const auto altered = [&](std::int64_t position, std::string_view what) {
    return WithNext(WithCode(absl::DataLossError(StrCat(path, ": entry ", position, ": ", what)),
                             "ledger-altered"),
                    "restore the file from another node's copy");
  };
  for (;;) {
    const int step = sqlite3_step(query.get());
    if (step == SQLITE_DONE) return chain;
    if (step != SQLITE_ROW)
      return Annotate(FromSqlite(connection, path), StrCat("entry ", chain.end.position + 1));
    ASSIGN_OR_RETURN(Row row, ReadRow(query.get(), path));
    const LedgerRecord& record = row.record;
    if (record.position != chain.end.position + 1)
      return altered(chain.end.position + 1, "missing");
    if (record.head != NextHead(chain.end.head, record.entry))
      return altered(record.position, "altered: the running head does not follow");
    if (row.checksum != Checksum(chain.checksum, record.head, record.time_unix_ms) ||
        record.time_unix_ms < chain.time_unix_ms)
      return altered(record.position, "altered: its time stamp does not match");
    chain = Chain{{record.position, record.head}, row.checksum, record.time_unix_ms};
    if (records != nullptr) records->push_back(std::move(row.record));
  }
}

Status CheckFormat(sqlite3* connection, const std::string& path) {
  ASSIGN_OR_RETURN(const Query format, Prepare(connection, "SELECT format FROM meta", path));
  const int step = sqlite3_step(format.get());
  if (step == SQLITE_ROW && sqlite3_column_int(format.get(), 0) == kFormat) return absl::OkStatus();
  if (step != SQLITE_ROW && step != SQLITE_DONE) return FromSqlite(connection, path);
  return WithNext(
      WithCode(absl::FailedPreconditionError(StrCat(path, ": a ledger of another release")),
               "ledger-format"),
      "use the release that wrote it");
}

// A connection that only reads, also where the folder may not be written to: SQLite would put a
// shared index of the write-ahead log there, and needs none when there is no such log.
Result<Connection> OpenToRead(const std::string& path) {
  ASSIGN_OR_RETURN(Connection connection, OpenConnection(path, SQLITE_OPEN_READONLY));
  const Status status = CheckFormat(connection.get(), path);
  if (status.ok()) return connection;
  std::error_code error;
  if (sqlite3_errcode(connection.get()) != SQLITE_CANTOPEN ||
      std::filesystem::exists(path + "-wal", error)) {
    return status;
  }
  std::string uri = "file:";
  for (const char c : std::filesystem::absolute(path).string()) {
    if (c == '?' || c == '#' || c == '%') {
      StrAppend(&uri, '%', HexEncode(AsBytes({&c, 1})));
    } else {
      uri.push_back(c);
    }
  }
  ASSIGN_OR_RETURN(Connection still,
                   OpenConnection(uri + "?immutable=1", SQLITE_OPEN_READONLY | SQLITE_OPEN_URI));
  RETURN_IF_ERROR(CheckFormat(still.get(), path));
  return still;
}

class EmbeddedLedger final : public Ledger {
 public:
  EmbeddedLedger(std::string path, const Clock& clock) : path_(std::move(path)), clock_(clock) {}

  Status Open(const EmbeddedLedgerOptions& options) {
    RETURN_IF_ERROR(Lock());
    ASSIGN_OR_RETURN(writer_, OpenConnection(path_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE));
    RETURN_IF_ERROR(SetUp());
    ASSIGN_OR_RETURN(chain_, Walk(writer_.get(), path_, nullptr));
    ASSIGN_OR_RETURN(
        insert_, Prepare(writer_.get(), "INSERT INTO entries VALUES(?1, ?2, ?3, ?4, ?5)", path_));
    ASSIGN_OR_RETURN(reader_, OpenConnection(path_, SQLITE_OPEN_READONLY));
    ASSIGN_OR_RETURN(select_, Prepare(reader_.get(), kSelect, path_));
    if (options.pages_max == 0) return absl::OkStatus();
    return Execute(writer_.get(), StrCat("PRAGMA max_page_count=", options.pages_max).c_str(),
                   path_);
  }

  Result<LedgerEnd> Append(std::span<const std::string> entries) override {
    RETURN_IF_ERROR(CheckAppend(entries));
    // One writer; readers have a connection of their own.
    const std::scoped_lock write(write_mutex_);
    LedgerEnd end = chain_.end;
    const std::int64_t now = std::max(chain_.time_unix_ms, UnixMs(clock_.UtcNow()));
    std::vector<LedgerRecord> records;
    for (const std::string& entry : entries) {
      end = {end.position + 1, NextHead(end.head, entry)};
      records.push_back({end.position, now, end.head, entry});
    }
    RETURN_IF_ERROR(Write(records));
    return LedgerEnd{records.front().position, records.front().head};
  }

  Status Copy(std::span<const LedgerRecord> records) override {
    const std::scoped_lock write(write_mutex_);
    RETURN_IF_ERROR(CheckCopy(chain_.end, chain_.time_unix_ms, records));
    return Write(records);
  }

  Result<std::vector<LedgerRecord>> Read(std::int64_t from,
                                         const LedgerReadOptions& options) const override {
    if (from < 0) return absl::InvalidArgumentError("a position is 0 or more");
    const std::int64_t last = End().position;  // never more than was said to be there
    const std::scoped_lock lock(read_mutex_);
    sqlite3_bind_int64(select_.get(), 1, from);
    sqlite3_bind_int64(select_.get(), 2, static_cast<std::int64_t>(options.entries_max));
    std::vector<LedgerRecord> out;
    std::size_t bytes = 0;
    Status status;
    for (int step = sqlite3_step(select_.get()); step != SQLITE_DONE;
         step = sqlite3_step(select_.get())) {
      if (step != SQLITE_ROW) {
        status = FromSqlite(reader_.get(), path_);
        break;
      }
      Result<Row> row = ReadRow(select_.get(), path_);
      status = row.status();
      if (!status.ok() || row->record.position > last) break;
      bytes += row->record.entry.size();
      if (!out.empty() && bytes > options.bytes_max) break;
      out.push_back(std::move(row->record));
    }
    sqlite3_reset(select_.get());
    if (!status.ok()) return status;
    return out;
  }

  Status CheckWritable() override {
    const std::scoped_lock write(write_mutex_);
    RETURN_IF_ERROR(broken_);
    RETURN_IF_ERROR(Execute(writer_.get(), "BEGIN IMMEDIATE", path_));
    return Execute(writer_.get(), "ROLLBACK", path_);
  }

  LedgerEnd End() const override {
    const std::scoped_lock lock(end_mutex_);
    return chain_.end;
  }
  LedgerEnd Final() const override { return End(); }

  bool WaitFor(std::int64_t position, Duration deadline_in,
               const std::stop_token& stop) const override {
    std::unique_lock lock(end_mutex_);
    return grown_.wait_for(lock, stop, deadline_in,
                           [&] { return chain_.end.position >= position; });
  }

 private:
  // Under write_mutex_; `records` follow the chain.
  Status Write(std::span<const LedgerRecord> records) {
    RETURN_IF_ERROR(broken_);
    RETURN_IF_ERROR(Execute(writer_.get(), "BEGIN IMMEDIATE", path_));
    Chain chain = chain_;
    Status status;
    for (const LedgerRecord& record : records) {
      chain = Chain{{record.position, record.head},
                    Checksum(chain.checksum, record.head, record.time_unix_ms),
                    record.time_unix_ms};
      status = Insert(chain, record.entry);
      if (!status.ok()) break;
    }
    if (status.ok()) status = Execute(writer_.get(), "COMMIT", path_);
    if (!status.ok()) {
      // What the disk did not take once it may claim to have the next time: nobody knows any more
      // what is on it.
      if (sqlite3_errcode(writer_.get()) == SQLITE_IOERR) {
        broken_ = WithNext(status, "look at the disk, then start this node again");
      }
      static_cast<void>(sqlite3_exec(writer_.get(), "ROLLBACK", nullptr, nullptr, nullptr));
      return status;
    }
    const std::scoped_lock lock(end_mutex_);
    chain_ = chain;
    grown_.notify_all();
    return absl::OkStatus();
  }

  Status Lock() {
    const std::string path = path_ + ".lock";
    lock_ = UniqueFd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!lock_.valid()) return FromErrno(path);
    if (flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
    if (errno != EWOULDBLOCK) return FromErrno(path);
    return WithNext(WithCode(absl::FailedPreconditionError(
                                 StrCat(path_, ": another process has this ledger open")),
                             "ledger-locked"),
                    "stop the other network node, or give this one another --state-dir");
  }

  Status SetUp() {
    {
      ASSIGN_OR_RETURN(const Query mode, Prepare(writer_.get(), "PRAGMA journal_mode=WAL", path_));
      if (sqlite3_step(mode.get()) != SQLITE_ROW) return FromSqlite(writer_.get(), path_);
      const auto* const answer = static_cast<const char*>(sqlite3_column_blob(mode.get(), 0));
      if (answer == nullptr || std::string_view(answer) != "wal") {
        return WithNext(absl::FailedPreconditionError(
                            StrCat(path_, ": this file system takes no write-ahead log")),
                        "put the state directory on a local disk");
      }
    }
    RETURN_IF_ERROR(Execute(
        writer_.get(),
        "PRAGMA synchronous=FULL;"
        "CREATE TABLE IF NOT EXISTS meta(format INTEGER NOT NULL);"
        "INSERT INTO meta SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM meta);"
        "CREATE TABLE IF NOT EXISTS entries(position INTEGER PRIMARY KEY, time_unix_ms INTEGER NOT "
        "NULL, head BLOB NOT NULL, entry BLOB NOT NULL, checksum BLOB NOT NULL)",
        path_));
    return CheckFormat(writer_.get(), path_);
  }

  Status Insert(const Chain& chain, const std::string& entry) {
    sqlite3_stmt* const insert = insert_.get();
    sqlite3_bind_int64(insert, 1, chain.end.position);
    sqlite3_bind_int64(insert, 2, chain.time_unix_ms);
    sqlite3_bind_blob(insert, 3, chain.end.head.bytes.data(), 32, SQLITE_STATIC);
    sqlite3_bind_blob(insert, 4, entry.data(), static_cast<int>(entry.size()), SQLITE_STATIC);
    sqlite3_bind_blob(insert, 5, chain.checksum.bytes.data(), 32, SQLITE_STATIC);
    const int step = sqlite3_step(insert);
    Status status = step == SQLITE_DONE ? absl::OkStatus() : FromSqlite(writer_.get(), path_);
    sqlite3_reset(insert);
    sqlite3_clear_bindings(insert);
    return status;
  }

  const std::string path_;
  const Clock& clock_;
  UniqueFd lock_;
  Connection writer_;
  Query insert_;
  Connection reader_;
  Query select_;
  std::mutex write_mutex_;
  mutable std::mutex read_mutex_;
  mutable std::mutex end_mutex_;
  mutable std::condition_variable_any grown_;
  Status broken_;  // under write_mutex_
  Chain chain_;    // written under both write_mutex_ and end_mutex_
};

}  // namespace

Result<std::unique_ptr<Ledger>> OpenEmbeddedLedger(const std::string& path, const Clock& clock,
                                                   const EmbeddedLedgerOptions& options) {
  auto ledger = std::make_unique<EmbeddedLedger>(path, clock);
  RETURN_IF_ERROR(ledger->Open(options));
  return std::unique_ptr<Ledger>(std::move(ledger));
}

Result<std::unique_ptr<Ledger>> OpenEmbeddedLedger(const std::string& path, const Clock& clock) {
  return OpenEmbeddedLedger(path, clock, {});
}

Result<std::int64_t> SalvageEmbeddedLedger(const std::string& path, const Clock& clock) {
  std::vector<LedgerRecord> records;
  if (Result<Connection> connection = OpenToRead(path); connection.ok()) {
    static_cast<void>(Walk(connection->get(), path, &records));  // what comes before the damage
  }
  for (const char* const part : {"", "-wal", "-shm"}) {
    std::error_code error;
    if (!std::filesystem::exists(path + part, error)) continue;
    std::filesystem::rename(path + part, StrCat(path, ".damaged", part), error);
    if (error) return absl::UnavailableError(StrCat(path, part, ": ", error.message()));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Ledger> ledger, OpenEmbeddedLedger(path, clock));
  for (std::span<const LedgerRecord> rest(records); !rest.empty();) {
    const std::size_t count = std::min(rest.size(), kCopyEntriesMax);
    RETURN_IF_ERROR(ledger->Copy(rest.first(count)));
    rest = rest.subspan(count);
  }
  return static_cast<std::int64_t>(records.size());
}

Result<std::vector<LedgerRecord>> ReadEmbeddedLedger(const std::string& path) {
  if (std::error_code error; !std::filesystem::is_regular_file(path, error)) {
    return absl::NotFoundError(StrCat(path, ": no such file"));
  }
  ASSIGN_OR_RETURN(const Connection connection, OpenToRead(path));
  std::vector<LedgerRecord> records;
  RETURN_IF_ERROR(Walk(connection.get(), path, &records).status());
  return records;
}

}  // namespace starling
