// What the checker sees at the end of a run, over the whole log.
#include "base/check.h"
#include "base/text.h"
#include "crypto/jws.h"
#include "protocol/fields.h"
#include "simulation/checker.h"
#include "simulation/sl.h"
#include "simulation/sn.h"

namespace starling::simulation {
namespace {

const SigningKey* FindKey(const Scene& scene, const std::string& kid) {
  for (const auto& sl : scene.sls) {
    if (sl->key().kid() == kid) return &sl->key();
  }
  for (const auto& sn : scene.sns) {
    if (sn->key().kid() == kid) return &sn->key();
  }
  return nullptr;
}

}  // namespace

void Checker::LookBack() {
  const Log& log = scene_->home.end();
  // 6: replay from zero.
  Replay zero;
  Mutant mutant(scene_->fault);
  std::vector<Digest> heads;
  for (const Log& page : PagesAfter(log, -1)) {
    static_cast<void>(zero.Apply(page->entry));
    if (log->mutant) static_cast<void>(mutant.Apply(page->entry, heads));
    heads.push_back(page->place().head);
  }
  if (zero.StateHash() != log->replay.StateHash())
    Fail("replay: from zero it comes to another state");
  if (log->mutant) {
    const auto& ours = log->state().contracts;
    for (const auto& [name, contract] : mutant.state().contracts) {
      for (const auto& [node_name, node] : contract.nodes) {
        if (ours.at(name).nodes.at(node_name).weight != node.weight)
          Fail("replay: from zero it comes to another state");
      }
    }
  }
  if (log->mutant && scene_->fault != Fault::kNoSeen) return;
  OtherLedger(log);
  if (!log->mutant && scene_->world.random().Below(4) == 0) DropVoid(log);
}

// 7: in another ledger of the same SNs none of it counts.
void Checker::OtherLedger(const Log& log) {
  const Sn& sentinel = *scene_->sns.front();
  const SigningKey& key = sentinel.key();
  SnJoined joined;
  joined.claim =
      SignSnClaim(key, {sentinel.name(), key.public_key(), "https://other:30304"}, 1, Place{});
  joined.protocol = 1;
  joined.finality = "embedded";
  Log other = scene_->chronicle.Append(scene_->chronicle.blank(),
                                       SignStatement(key, {ContractName{}, 2, Place{}, joined}));
  CHECK(other->verdict.valid());
  for (const Log& page : PagesAfter(log, 0)) {
    const Log again = scene_->chronicle.Append(other, page->entry);
    if (again->verdict.valid())
      return Fail(StrCat("again: ", page->verdict.type, " of position ", page->position(),
                         " counts in another ledger"));
  }
}

// 6: void entries change only seqs and positions. The valid ones, signed again for a log without
// them, come to the same state. Only where all keys are known still, and where no position is
// written down in a state.
void Checker::DropVoid(const Log& log) {
  Log rest = scene_->chronicle.blank();
  std::map<std::int64_t, Place> moved{{-1, Place{}}};
  std::map<std::string, std::uint64_t> seqs;
  for (const Log& page : PagesAfter(log, -1)) {
    moved[page->position()] = rest->place();
    if (!page->verdict.valid()) continue;
    const Result<Jws> jws = ParseJws(page->entry, kEntryTyp);
    CHECK(jws.ok());
    Result<Statement> statement = ParseStatement(jws->payload);
    CHECK(statement.ok());
    const SigningKey* const key = FindKey(*scene_, jws->kid);
    if (key == nullptr) return;
    statement->seen = moved.at(statement->seen.position.value());
    if (auto* const enrolled = std::get_if<NodeEnrolled>(&statement->event)) {
      Result<SignedNodeClaim> claim = ParseNodeClaim(enrolled->claim);
      CHECK(claim.ok());
      const SigningKey* const own = FindKey(*scene_, Thumbprint(claim->claim.key));
      if (own == nullptr) return;
      claim->seen = moved.at(claim->seen.position.value());
      if (claim->claim.instance)
        claim->claim.instance = moved.at(claim->claim.instance->value()).position;
      enrolled->claim = SignNodeClaim(*own, *claim);
    } else if (auto* const joins = std::get_if<SnJoined>(&statement->event)) {
      const Result<SignedSnClaim> claim = ParseSnClaim(joins->claim);
      CHECK(claim.ok());
      const SigningKey* const own = FindKey(*scene_, Thumbprint(claim->claim.key));
      joins->claim =
          SignSnClaim(*own, claim->claim, claim->seq, moved.at(claim->seen.position.value()));
    } else if (!std::holds_alternative<NodeAway>(statement->event) && !scene_->operators.empty()) {
      if (std::holds_alternative<ContractCreated>(statement->event) ||
          std::holds_alternative<ContractReset>(statement->event) ||
          std::holds_alternative<ContractAmended>(statement->event) ||
          std::holds_alternative<NodeRevoked>(statement->event))
        return;  // The operator's own claim would have to be signed again, too.
    }
    rest = scene_->chronicle.Append(rest, SignStatement(*key, *statement));
    moved[page->position()] = rest->place();
    if (!rest->verdict.valid())
      return Fail(StrCat("replay: without void entries, position ", page->position(),
                         " is ignored: ", rest->verdict.reason));
  }
  if (rest->replay.StateHash() != log->replay.StateHash())
    Fail("replay: without void entries it comes to another state");
}

}  // namespace starling::simulation
