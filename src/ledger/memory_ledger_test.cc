#include "gtest/gtest.h"
#include "ledger/contract_test.h"

namespace starling {
namespace {

struct MemoryHome {
  static std::unique_ptr<Ledger> Open(const Clock& clock) { return MakeMemoryLedger(clock); }
};
INSTANTIATE_TYPED_TEST_SUITE_P(Memory, LedgerContract, MemoryHome);

}  // namespace
}  // namespace starling
