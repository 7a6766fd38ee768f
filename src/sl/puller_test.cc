#include "sl/puller.h"

#include <atomic>
#include <latch>

#include "gtest/gtest.h"
#include "sl/sl_testing.h"

namespace starling {
namespace {

TEST(PullerTest, ATransferThatOutlivesItsCertificatesIsNotTheSourcesFault) {
  ManualClock clock;
  const DevAuthority authority = MakeAuthority("swarm.local", clock);
  const auto layout = std::make_shared<const Layout>(TestLayout());
  Site source("a", 1, clock, authority, layout), asker("b", 2, clock, authority, layout);
  const auto model = std::make_shared<const Bytes>(TestModel(*layout, 7));
  const LeafList leaves = LeavesOf(*model);
  MergeJob job;
  job.size = model->size();
  job.nodes[NodeName{"a"}] = source.AsNode(1);
  const Member member{NodeName{"a"}, NodeKind::kTrainer, RootOfLeaves(leaves), 1};
  // The first transfer stands still within its second chunk for longer than any silence is borne,
  // and than the certificates last.
  std::latch second_chunk(1);
  std::atomic<int> transfers = 0;
  source.SetBefore([&](const HttpRequest& request, const std::stop_token&) {
    HttpResponse response = BlobResponse(request, Slice{*model, model});
    if (transfers++ > 0) return response;
    response.body =
        StreamedBody{model->size(), [&](BodySink& sink, const std::stop_token&) -> Status {
                       constexpr std::size_t kPart = kChunkBytes + kChunkBytes / 2;
                       RETURN_IF_ERROR(sink.Write(ByteSpan(*model).first(kPart)));
                       second_chunk.wait();
                       // Before anybody can notice that the old ones have ended.
                       for (Site* site : {&source, &asker}) site->Renew(std::chrono::hours(3));
                       clock.Advance(std::chrono::hours(2));
                       return sink.Write(ByteSpan(*model).subspan(kPart));
                     }};
    return response;
  });
  const Puller puller({asker.client(), clock, asker.key(), 5s, true, {}});
  Bytes blob(model->size());
  std::vector<std::uint64_t> done;
  const auto buffer = [&](std::uint64_t chunk) -> Result<MutableByteSpan> {
    if (chunk == 1 && transfers == 1) second_chunk.count_down();
    const ByteRange range = ChunkRange(blob.size(), chunk);
    return MutableByteSpan(blob).subspan(range.begin, range.size());
  };

  const Status status =
      puller.UpdateChunks(job, member, leaves, {0, ChunkCount(blob.size())}, buffer,
                          [&](std::uint64_t chunk) { done.push_back(chunk); }, {});

  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(blob == *model);
  EXPECT_EQ(done, (std::vector<std::uint64_t>{0, 1, 2}));  // It goes on where it was cut.
  EXPECT_EQ(transfers.load(), 2);
}

}  // namespace
}  // namespace starling
