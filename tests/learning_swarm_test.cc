// Whole swarms: rounds, models, refusals and ends. tests/swarm_testing.h tells what they are made
// of.
#include <set>

#include "gmock/gmock.h"
#include "tests/swarm_testing.h"

namespace starling {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(SwarmTest, ThreeNodesGetTheModelsThatAnIndependentMergeGives) {
  const std::map<std::string, std::uint64_t> weights = {{"a", 1}, {"b", 3}, {"c", 100}};
  constexpr std::uint64_t kRounds = 4;  // trained; before them round 0, after them the closing one
  std::map<std::string, Played> played;
  for (const auto& [name, weight] : weights) {
    played[name];
    Add(name).Start();
  }
  {
    std::vector<std::jthread> programs;
    for (const auto& [name, weight] : weights) {
      programs.emplace_back([this, name = name, weight = weight, &played] {
        TestProgram program(nodes_.at(name)->socket());
        const Json opened = program.Open(OpeningOf(weight, 3));
        ASSERT_EQ(opened.at("type"), "opened") << opened;
        EXPECT_EQ(opened.at("node"), name);
        for (std::uint64_t round = 0; round <= kRounds; ++round)
          Hand(program, played.at(name), UpdateOf(name, round), false);
        Hand(program, played.at(name), UpdateOf(name, kRounds + 1), true);
        SayGoodbye(program);
      });
    }
  }

  for (const auto& [name, node] : nodes_) {
    const Result<int> code = node->End();
    ASSERT_TRUE(code.ok()) << name << ": " << code.status();
    EXPECT_EQ(*code, 0);
  }
  const Played& a = played.at("a");
  const std::set<Bytes> first = {played.at("a").updates[0], played.at("b").updates[0],
                                 played.at("c").updates[0]};
  ASSERT_EQ(a.merged.size(), kRounds + 2);
  EXPECT_TRUE(first.contains(a.merged[0])) << "round 0 is the leader's model";
  for (std::size_t round = 0; round < a.merged.size(); ++round) {
    for (const auto& [name, each] : played) {
      EXPECT_TRUE(each.merged[round] == a.merged[round]) << name << " in round " << round;
      EXPECT_EQ(each.answers[round].at("round"), round);
      EXPECT_EQ(each.answers[round].at("counted"), true);
      EXPECT_EQ(each.answers[round].at("over"), round == kRounds + 1);
      EXPECT_EQ(each.answers[round].at("participants"), Json({"a", "b", "c"}));
    }
    if (round == 0) continue;
    const Bytes expected =
        MeanOf({&a.updates[round], &played.at("b").updates[round], &played.at("c").updates[round]},
               {1, 3, 100}, a.merged[round - 1]);
    EXPECT_TRUE(a.merged[round] == expected) << "round " << round;
  }
  for (const auto& [name, node] : nodes_) {
    const Json result = node->ResultFile();
    EXPECT_EQ(result.at("root"), RootText(RootOf(a.merged.back())));
    EXPECT_EQ(result.at("rounds"), kRounds + 2);
    EXPECT_EQ(result.at("same_on"), 3);
    EXPECT_EQ(result.at("loss"), 0.25);
    const Result<Slice> file = MapFile(result.at("model"));
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE(AsText(file->bytes) == AsText(a.merged.back()));
    const Bytes& update = played.at(name).updates[2];
    const std::string path =
        StrCat(node->config.state_dir, "/updates/2-", HexOf(RootOf(update)), ".safetensors");
    const Result<Slice> kept = MapFile(path);
    ASSERT_TRUE(kept.ok()) << kept.status();
    EXPECT_TRUE(AsText(kept->bytes) == AsText(update));
    EXPECT_THAT(node->LogText(), HasSubstr("round 2: merged a, b, c; leader "));
  }
}

TEST_F(SwarmTest, ALateNodeGetsTheModelAndTakesPartFromThere) {
  for (const std::string name : {"a", "b", "c"}) Add(name);
  nodes_.at("a")->Start();
  nodes_.at("b")->Start();
  nodes_.at("c")->Start();
  std::map<std::string, Played> played = {{"a", {}}, {"b", {}}, {"c", {}}};
  std::promise<void> two_rounds;
  std::promise<void> c_is_in;
  const std::shared_future<void> wait_for_c = c_is_in.get_future().share();
  {
    std::vector<std::jthread> programs;
    for (const std::string name : {"a", "b"}) {
      programs.emplace_back([this, name, &played, &two_rounds, wait_for_c] {
        TestProgram program(nodes_.at(name)->socket());
        ASSERT_EQ(program.Open(OpeningOf(1, 2)).at("type"), "opened");
        for (std::uint64_t round = 0; round <= 1; ++round)
          Hand(program, played.at(name), UpdateOf(name, round), false);
        if (name == "a") two_rounds.set_value();
        wait_for_c.wait();
        Hand(program, played.at(name), UpdateOf(name, 2), false);
        Hand(program, played.at(name), UpdateOf(name, 3), true);
        SayGoodbye(program);
      });
    }
    programs.emplace_back([this, &played, &two_rounds, &c_is_in] {
      two_rounds.get_future().wait();
      TestProgram program(nodes_.at("c")->socket());
      ASSERT_EQ(program.Open(OpeningOf(1, 2)).at("type"), "opened");
      Hand(program, played.at("c"), UpdateOf("c", 1), false);  // comes too late to count
      const std::jthread others([this, &c_is_in] {
        WaitForTraining([](const Json& training) { return Is(training, "c", "checked_in"); });
        c_is_in.set_value();
      });
      Hand(program, played.at("c"), UpdateOf("c", 2), false);
      Hand(program, played.at("c"), UpdateOf("c", 3), true);
      SayGoodbye(program);
    });
  }

  for (const auto& [name, node] : nodes_) EXPECT_EQ(node->End().value_or(-1), 0) << name;
  const Played& a = played.at("a");
  const Played& c = played.at("c");
  ASSERT_EQ(c.answers.size(), 3U);
  ASSERT_EQ(a.merged.size(), 4U);
  EXPECT_EQ(c.answers[0].at("counted"), false);
  EXPECT_EQ(c.answers[0].at("round"), 1);
  EXPECT_TRUE(c.merged[0] == a.merged[1]);
  EXPECT_EQ(c.answers[1].at("counted"), true);
  EXPECT_EQ(c.answers[1].at("participants"), Json({"a", "b", "c"}));
  EXPECT_TRUE(c.merged[1] == MeanOf({&a.updates[2], &played.at("b").updates[2], &c.updates[1]},
                                    {1, 1, 1}, a.merged[1]));
  EXPECT_TRUE(c.merged[2] == a.merged[3]);
}

TEST_F(SwarmTest, AnotherModelIsRefusedWithTheDifferenceSpelledOut) {
  LearningNodeThread& a = Add("a");
  LearningNodeThread& b = Add("b");
  a.Start();
  b.Start();
  TestProgram first(a.socket());
  ASSERT_EQ(first.Open(OpeningOf(1, 2)).at("type"), "opened");
  TestProgram::Opening other = OpeningOf(1, 2);
  for (TensorSpec& tensor : other.tensors) {
    if (tensor.name == "steps") tensor.shape = {6};
  }

  TestProgram second(b.socket());
  const Json answer = second.Open(other);
  second.Close();
  const Result<int> code = b.End();

  ASSERT_EQ(answer.at("type"), "error");
  EXPECT_THAT(answer.at("cause").get<std::string>(), HasSubstr("steps: I64 [6] here, I64 [5]"));
  EXPECT_THAT(std::string(code.status().message()), HasSubstr("steps: I64 [6] here, I64 [5]"));
}

TEST_F(SwarmTest, OtherRulesAreRefused) {
  LearningNodeThread& a = Add("a");
  LearningNodeThread& b = Add("b");
  a.Start();
  b.Start();
  TestProgram first(a.socket());
  ASSERT_EQ(first.Open(OpeningOf(1, 2)).at("type"), "opened");
  TestProgram::Opening other = OpeningOf(1, 2);
  other.sync_interval = 99;

  TestProgram second(b.socket());
  const Json answer = second.Open(other);
  second.Close();

  ASSERT_EQ(answer.at("type"), "error");
  EXPECT_THAT(answer.at("cause").get<std::string>(),
              HasSubstr("sync_interval: 10 in the training, 99 here"));
  EXPECT_FALSE(b.End().ok());
}

TEST_F(SwarmTest, AProgramThatEndsWithoutASyncIsAnErrorWithItsLastLines) {
  LearningNodeThread& a = Add("a");
  a.config.program = {"/bin/sh", "-c", "echo no data found; exit 3"};
  LearningNodeThread& b = Add("b");
  b.config.program = {"/bin/sh", "-c", "echo all is well"};
  a.Start();
  b.Start();

  EXPECT_EQ(a.End().value_or(-1), 3);
  EXPECT_EQ(b.End().value_or(-1), 1);
  EXPECT_THAT(a.LogText(), HasSubstr("no data found"));
  EXPECT_THAT(a.LogText(), HasSubstr("ended with exit code 3 without a single sync"));
  EXPECT_THAT(b.LogText(), HasSubstr("without a single sync"));
}

TEST_F(SwarmTest, AProgramThatVanishesIsReportedAndItsNodeLeaves) {
  LearningNodeThread& a = Add("a");
  a.Start();
  TestProgram program(a.socket());
  ASSERT_EQ(program.Open(OpeningOf(1, 2)).at("type"), "opened");
  ASSERT_TRUE(program.Send({{"type", "log"}, {"level", "ERROR"}, {"lines", {"it burns"}}}));
  program.Close();

  EXPECT_EQ(a.End().value_or(-1), 1);
  EXPECT_THAT(a.LogText(), HasSubstr("it burns"));
  EXPECT_THAT(a.LogText(), HasSubstr("closed without a goodbye"));
  EXPECT_FALSE(Is(Ask({.target = "/v1/contracts/t"}), "a", "present"));
}

// As a container beside the program's, which would be started again if it ended first, and which is
// stopped as soon as its program has ended: the other may still need the model then.
TEST_F(SwarmTest, ANodeThatStaysEndsWhenItIsStoppedAndTheTrainingIsOver) {
  LearningNodeThread& a = Add("a");
  LearningNodeThread& b = Add("b");
  a.config.stay = b.config.stay = true;
  a.Start();
  b.Start();
  TestProgram of_a(a.socket()), of_b(b.socket());
  Played played_a, played_b;
  ASSERT_EQ(of_a.Open(OpeningOf(1, 2)).at("type"), "opened");
  ASSERT_EQ(of_b.Open(OpeningOf(1, 2)).at("type"), "opened");
  {
    const std::jthread one([&] { Hand(of_a, played_a, UpdateOf("a", 0), false); });
    const std::jthread two([&] { Hand(of_b, played_b, UpdateOf("b", 0), false); });
  }
  ASSERT_TRUE(of_b.Offer(UpdateOf("b", 1), {{"type", "finish"}, {"mode", "snapshot"}}));
  WaitForTraining([](const Json& t) { return Of(t, "b", "kind") == "snapshot"; });
  of_b.Close();
  b.Stop();
  while (b.LogText().find("as soon as the training is over") == std::string::npos)
    std::this_thread::yield();

  Hand(of_a, played_a, UpdateOf("a", 1), true);
  SayGoodbye(of_a);
  while (a.Readiness().find("training: ready, over") == std::string::npos)
    std::this_thread::yield();
  a.Stop();

  EXPECT_EQ(a.End().value_or(-1), 0);
  EXPECT_EQ(b.End().value_or(-1), 0);
  EXPECT_EQ(played_a.answers.back().at("over"), true);
  EXPECT_EQ(b.ResultFile().at("root"), played_a.answers.back().at("root"));
  EXPECT_THAT(a.LogText(), Not(HasSubstr("stopping")));
}

TEST_F(SwarmTest, AStoppedNodeLeavesTheTraining) {
  LearningNodeThread& a = Add("a");
  a.Start();
  TestProgram program(a.socket());
  ASSERT_EQ(program.Open(OpeningOf(1, 2)).at("type"), "opened");

  a.Stop();

  EXPECT_EQ(a.End().value_or(-1), 143);
  EXPECT_FALSE(Is(Ask({.target = "/v1/contracts/t"}), "a", "present"));
}

TEST_F(SwarmTest, TrainingBeginsFromAModelOfOneNode) {
  const Bytes initial = TestModel(layout_, 5);
  const ScratchDirectory files;
  const std::string path = files.path() + "/initial.safetensors";
  ASSERT_TRUE(WriteFileDurably(path, AsText(initial)).ok());
  const Json created = Ask(
      {.method = "POST",
       .target = "/v1/contracts",
       .headers = {{"content-type", "application/json"}},
       .body = Json{{"name", "t"}, {"rules", {{"initial", RootText(RootOf(initial))}}}}.dump()});
  ASSERT_TRUE(created.contains("position")) << created;
  Add("a").config.initial_file = path;
  Add("b");
  std::map<std::string, Played> played = {{"a", {}}, {"b", {}}};
  {
    std::vector<std::jthread> programs;
    for (const auto& [name, node] : nodes_) {
      node->Start();
      programs.emplace_back([this, name = name, &played] {
        TestProgram program(nodes_.at(name)->socket());
        ASSERT_EQ(program.Open(OpeningOf(1, 2)).at("type"), "opened");
        Hand(program, played.at(name), UpdateOf(name, 0), false);  // replaced by the initial model
        Hand(program, played.at(name), UpdateOf(name, 1), false);
        Hand(program, played.at(name), UpdateOf(name, 2), true);
        SayGoodbye(program);
      });
    }
  }

  for (const auto& [name, node] : nodes_) {
    EXPECT_EQ(node->End().value_or(-1), 0) << name;
    ASSERT_EQ(played.at(name).merged.size(), 3U);
    EXPECT_TRUE(played.at(name).merged[0] == initial) << name;
    EXPECT_EQ(played.at(name).answers[0].at("counted"), false);
    EXPECT_TRUE(played.at(name).merged[1] ==
                MeanOf({&played.at("a").updates[1], &played.at("b").updates[1]}, {1, 1}, initial));
  }
}

TEST_F(SwarmTest, TheTrainingsBlobsAndStateAreClosedToStrangersButNotToOperators) {
  LearningNodeThread& a = Add("a");
  a.Start();
  TestProgram program(a.socket());
  ASSERT_EQ(program.Open(OpeningOf(1, 1)).at("type"), "opened");
  const Json training = WaitForTraining([](const Json& t) { return Is(t, "a", "present"); });
  const Endpoint blobs =
      *Endpoint::Parse(training.at("nodes").at(0).at("blob_url").get<std::string>());
  Party stranger(clock_, MakeState(clock_, authority_, {&authority_}, {.path = "/swarm/x/sl"}),
                 PeerPolicy{{}, {"*/sl"}});
  Party boss(clock_, MakeState(clock_, authority_, {&authority_}, {.path = "/swarm/operator"}),
             PeerPolicy{{}, {"*/sl"}});
  HttpClient strangers_client(*stranger.tls, {});
  HttpClient bosss_client(*boss.tls, {});

  const auto refused = strangers_client.Do(blobs, {.target = "/v1/models"}, {});
  const auto allowed = bosss_client.Do(blobs, {.target = "/v1/models"}, {});

  ASSERT_TRUE(refused.ok()) << refused.status();
  EXPECT_EQ(refused->status, 403);
  ASSERT_TRUE(allowed.ok()) << allowed.status();
  EXPECT_EQ(allowed->status, 200);
}

}  // namespace
}  // namespace starling
