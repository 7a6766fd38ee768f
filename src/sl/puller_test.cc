#include "sl/puller.h"

#include "gtest/gtest.h"
#include "sl/sl_testing.h"

namespace starling {
namespace {

TEST(PullerTest, ATransferThatOutlivesItsCertificatesIsNotTheSourcesFault) {
  ManualClock clock;
  const DevAuthority authority = MakeAuthority("swarm.local", clock);
  const auto layout = std::make_shared<const Layout>(TestLayout());
  Site source("a", 1, clock, authority, layout), asker("b", 2, clock, authority, layout);
  auto contract = std::make_shared<Contract>();
  for (const Site* site : {&source, &asker}) {
    const Node node = site->AsNode(1);
    contract->nodes[node.name] = node;
  }
  for (Site* site : {&source, &asker}) site->board().SetContract(contract);
  const Bytes model = TestModel(*layout, 7);
  const Digest root = source.Hold(RoundId{2}, model);
  // The first transfer takes longer than any silence is borne, and than the certificates last.
  int transfers = 0;
  source.SetBefore([&](const HttpRequest& request, const std::stop_token& stop) {
    HttpResponse response = source.Serve(request, stop);
    const auto* const slice = std::get_if<Slice>(&response.body);
    if (slice == nullptr || transfers++ > 0) return response;
    response.body = StreamedBody{
        slice->bytes.size(), [&, all = *slice](BodySink& sink, const std::stop_token&) -> Status {
          const std::size_t part = all.bytes.size() / 2;
          RETURN_IF_ERROR(sink.Write(all.bytes.first(part)));
          clock.Advance(std::chrono::hours(2));
          source.Renew();
          asker.Renew();
          return sink.Write(all.bytes.subspan(part));
        }};
    return response;
  });
  const Puller puller({asker.client(), clock, asker.key(), 5s, true, {}});
  Bytes blob(layout->size());

  const Result<LeafList> leaves = puller.Model(root, {source.endpoint().Url()}, blob, {});

  ASSERT_TRUE(leaves.ok()) << leaves.status();
  EXPECT_TRUE(blob == model);
  EXPECT_EQ(transfers, 2);
}

}  // namespace
}  // namespace starling
