#include "sn/admission.h"

#include <charconv>
#include <limits>
#include <optional>

#include "base/text.h"
#include "crypto/jws.h"

namespace starling {
namespace {

Status Refused(Status status, std::string_view code, std::string_view next) {
  return WithNext(WithCode(std::move(status), code), next);
}

// The key that `kid` names: a joined SN's, or that of a node of the contract's present instance.
std::optional<PublicKey> FindKey(const LedgerState& state, const ContractName& contract,
                                 const std::string& kid) {
  for (const auto& [name, sn] : state.sns) {
    if (sn.kid == kid) return sn.key;
  }
  const auto found = state.contracts.find(contract);
  if (found == state.contracts.end()) return std::nullopt;
  const Node* const node = found->second.FindKid(kid);
  return node == nullptr ? std::nullopt : std::optional<PublicKey>(node->key);
}

}  // namespace

Status SplitLedger(const Place& shown, const Digest& ours, std::string_view who) {
  return Refused(
      absl::AbortedError(StrCat("at position ", shown.position.value(), " ", who, " head ",
                                ShortText(shown.head), " where this ledger has ", ShortText(ours))),
      "split-ledger",
      "two ledgers claim to be this swarm's: stop both sides, and compare with `starling verify` "
      "which is the right one");
}

Status CheckSeen(const Replay& replay, const Place& seen) {
  if (seen.position > replay.place().position) {
    return Refused(
        absl::FailedPreconditionError(
            StrCat("this ledger ends at position ", replay.place().position.value(),
                   ", and you have seen position ", seen.position.value())),
        "seen-ahead",
        "the SN may have been restored from an old copy: bring its newest ledger.db back");
  }
  ASSIGN_OR_RETURN(const Digest ours, replay.HeadAt(seen.position));
  if (ours != seen.head) return SplitLedger(seen, ours);
  return absl::OkStatus();
}

Result<Statement> CheckHeader(const Replay& replay, std::string_view entry) {
  Result<Jws> jws = ParseJws(entry, kEntryTyp);
  if (!jws.ok())
    return Refused(jws.status(), "bad-entry", "send a compact JWS as docs/formats describes it");
  Result<Statement> statement = ParseStatement(jws->payload);
  if (!statement.ok())
    return Refused(statement.status(), "bad-entry",
                   "send a statement as docs/protocol.md describes it");

  const LedgerState& state = replay.state();
  const auto contract = state.contracts.find(statement->contract);
  if (contract == state.contracts.end()) {
    return Refused(
        absl::NotFoundError(StrCat("no training \"", statement->contract.value(), "\" here")),
        "no-such-training", "enrol first, or have an operator create it");
  }
  const std::optional<PublicKey> key = FindKey(state, statement->contract, jws->kid);
  if (!key) {
    return Refused(absl::PermissionDeniedError(StrCat("key ", Printable(jws->kid, 43),
                                                      " belongs to no node of training \"",
                                                      statement->contract.value(), "\"")),
                   "unknown-key", "enrol this node first");
  }
  if (!VerifyJws(*jws, *key).ok()) {
    return Refused(absl::PermissionDeniedError("the signature does not fit the entry"),
                   "bad-signature", "sign with the ledger key that enrolled");
  }
  const auto last = state.last_seq.find(jws->kid);
  if (last != state.last_seq.end() && statement->seq <= last->second) {
    return Refused(absl::AbortedError(StrCat("seq ", statement->seq,
                                             " of this key is used; the last is ", last->second)),
                   "seq-used",
                   "sign again with a higher seq; one key must not serve two processes");
  }
  RETURN_IF_ERROR(CheckSeen(replay, statement->seen));
  if (statement->seen.position < contract->second.instance) {
    return Refused(absl::AbortedError(StrCat(
                       "signed at position ", statement->seen.position.value(),
                       ", before this training began at ", contract->second.instance.value())),
                   "seen-too-old", "read the ledger on and sign again");
  }
  return statement;
}

Result<Place> ParsePlace(std::string_view text) {
  const std::size_t colon = text.find(':');
  const Status bad =
      absl::InvalidArgumentError(StrCat("not a place: \"", Printable(text, 100), "\""));
  if (colon == std::string_view::npos || colon == 0) return bad;
  std::int64_t position = 0;
  const std::string_view digits = text.substr(0, colon);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), position);
  if (error != std::errc() || end != digits.data() + digits.size() || position < -1) return bad;
  const Result<Digest> head = ParseHexDigest(text.substr(colon + 1));
  if (!head.ok()) return bad;
  return Place{.position = Position(position), .head = *head};
}

Rules OpenRules(const Contract* previous) {
  Rules rules;
  if (previous == nullptr) return rules;
  rules = previous->rules;
  rules.min_peers.reset();
  rules.merge.reset();
  rules.schema.reset();
  rules.size.reset();
  rules.sync_interval.reset();
  // A start from a given model was that training's affair.
  if (std::holds_alternative<Digest>(rules.initial)) rules.initial = InitialLeader{};
  return rules;
}

}  // namespace starling
