#include "ledger/page.h"

#include "ledger/limits.h"

namespace starling {
namespace {

Status BadAnswer(const Status& why) {
  return WithNext(WithCode(absl::DataLossError(why.message()), "bad-answer"),
                  "look at the node that answers so");
}

Result<LedgerEnd> ParseEnd(const Json& answer, std::string_view member) {
  ASSIGN_OR_RETURN(const Json* const place, GetObject(answer, member));
  const auto position = place->find("position");
  if (position == place->end() || !position->is_number_integer())
    return absl::InvalidArgumentError(StrCat(member, " names no position"));
  LedgerEnd end;
  end.position = position->get<std::int64_t>();
  constexpr auto kMax = static_cast<std::int64_t>(kJsonIntegerMax);
  if (end.position < -1 || end.position > kMax)
    return absl::InvalidArgumentError(StrCat(member, " names no position"));
  ASSIGN_OR_RETURN(const std::string head, GetString(*place, "head", 64));
  ASSIGN_OR_RETURN(end.head, ParseHexDigest(head));
  return end;
}

Result<LedgerRecord> ParseRecord(const Json& object) {
  if (!object.is_object()) return absl::InvalidArgumentError("an entry is no object");
  LedgerRecord record;
  ASSIGN_OR_RETURN(const std::uint64_t position, GetUint(object, "position"));
  ASSIGN_OR_RETURN(const std::uint64_t time, GetUint(object, "time_unix_ms"));
  ASSIGN_OR_RETURN(const std::string head, GetString(object, "head", 64));
  ASSIGN_OR_RETURN(record.head, ParseHexDigest(head));
  ASSIGN_OR_RETURN(record.entry, GetString(object, "entry", kEntryTextMax));
  RETURN_IF_ERROR(CheckEntryText(record.entry));
  record.position = static_cast<std::int64_t>(position);
  record.time_unix_ms = static_cast<std::int64_t>(time);
  return record;
}

Result<LedgerPage> Parse(const Json& answer, std::int64_t from) {
  LedgerPage page;
  ASSIGN_OR_RETURN(page.end, ParseEnd(answer, "end"));
  ASSIGN_OR_RETURN(page.final_end, ParseEnd(answer, "final"));
  if (page.final_end.position > page.end.position)
    return absl::InvalidArgumentError("its final place is beyond its end");
  ASSIGN_OR_RETURN(const Json* const entries, GetArray(answer, "entries", kPageEntriesMax));
  for (const Json& entry : *entries) {
    const std::int64_t expected = from + static_cast<std::int64_t>(page.records.size());
    Result<LedgerRecord> record = ParseRecord(entry);
    if (!record.ok()) return Annotate(record.status(), StrCat("entry ", expected));
    if (record->position != expected) {
      return absl::InvalidArgumentError(
          StrCat("entry ", record->position, " stands where entry ", expected, " belongs"));
    }
    if (!page.records.empty() &&
        (record->head != NextHead(page.records.back().head, record->entry) ||
         record->time_unix_ms < page.records.back().time_unix_ms)) {
      return absl::InvalidArgumentError(
          StrCat("entry ", expected, " does not follow the one before it"));
    }
    page.records.push_back(*std::move(record));
  }
  if (page.records.empty()) return page;
  const LedgerRecord& last = page.records.back();
  if (last.position > page.end.position ||
      (last.position == page.end.position && last.head != page.end.head)) {
    return absl::InvalidArgumentError(
        StrCat("its end is another than its entry ", last.position, " says"));
  }
  return page;
}

}  // namespace

Json LedgerEndJson(const LedgerEnd& end) {
  return {{"position", end.position}, {"head", HexOf(end.head)}};
}

Json LedgerPageJson(const LedgerPage& page) {
  Json entries = Json::array();
  for (const LedgerRecord& record : page.records) {
    entries.push_back({{"position", record.position},
                       {"time_unix_ms", record.time_unix_ms},
                       {"head", HexOf(record.head)},
                       {"entry", record.entry}});
  }
  return {{"end", LedgerEndJson(page.end)},
          {"final", LedgerEndJson(page.final_end)},
          {"entries", std::move(entries)}};
}

Result<LedgerPage> ParseLedgerPage(const Json& answer, std::int64_t from) {
  Result<LedgerPage> page = Parse(answer, from);
  if (!page.ok()) return BadAnswer(page.status());
  return page;
}

}  // namespace starling
