// Whole swarms in which something fails: waits that are told, disks that refuse, nodes that start
// again, an SN that forgets. tests/swarm_testing.h tells what they are made of.
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>

#include "base/leaping_clock_testing.h"
#include "base/mailbox.h"
#include "gmock/gmock.h"
#include "tests/swarm_testing.h"

namespace starling {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class FaultsTest : public SwarmTest {
 protected:
  // Nodes a and b; each program has opened its session, and each node's is the given quorum.
  void Begin(std::uint64_t min_peers = 2) {
    for (const std::string name : {"a", "b"}) {
      Add(name).config.word_every = 20ms;
      nodes_.at(name)->Start();
      Open(name, min_peers);
    }
  }
  void Open(const std::string& name, std::uint64_t min_peers = 2) {
    programs_[name] = std::make_unique<TestProgram>(nodes_.at(name)->socket());
    ASSERT_EQ(programs_.at(name)->Open(OpeningOf(1, min_peers)).at("type"), "opened");
  }
  TestProgram& Program(const std::string& name) { return *programs_.at(name); }
  // Both programs sync; what each is answered.
  std::map<std::string, Json> Round(std::uint64_t round) {
    for (auto& [name, program] : programs_) program->Offer(UpdateOf(name, round));
    std::map<std::string, Json> answers;
    for (auto& [name, program] : programs_) answers[name] = program->Receive();
    return answers;
  }
  void OfferFinish(const std::string& name, std::uint64_t round) {
    Program(name).Offer(UpdateOf(name, round), {{"type", "finish"}, {"mode", "snapshot"}});
  }
  // What a node has said of this type so far; claims by the name in them.
  std::vector<Json> Said(const std::string& type, const std::string& member,
                         const std::string& name) {
    std::vector<Json> payloads;
    const Json page = Ask({.target = "/v1/entries?from=0&decode=1"});
    for (const Json& entry : page.at("entries")) {
      if (entry.at("payload").at("type") != type) continue;
      const Json& payload =
          entry.contains("claim_payload") ? entry.at("claim_payload") : entry.at("payload");
      if ((member == "author" ? entry : payload).at(member) == name) payloads.push_back(payload);
    }
    return payloads;
  }
  [[nodiscard]] std::string Folder(const std::string& name, const std::string& what) const {
    return nodes_.at(name)->config.state_dir + "/" + what;
  }
  // Ends b's process, after its program has asked to finish and the log has it.
  void FinishAndStopB(std::uint64_t round) {
    OfferFinish("b", round);
    WaitForTraining([](const Json& t) { return Of(t, "b", "kind") == "snapshot"; });
    nodes_.at("b")->Stop();
    EXPECT_EQ(nodes_.at("b")->End().value_or(-1), 143);
    programs_.erase("b");
  }
  void Restart(const std::string& name, const std::function<void()>& meanwhile) {
    nodes_.at(name)->Stop();
    EXPECT_EQ(nodes_.at(name)->End().value_or(-1), 143);
    programs_.erase(name);
    meanwhile();
    nodes_.at(name)->Start();
    WaitForTraining([&](const Json& t) { return Is(t, name, "present"); });
  }
  // A round of this node only; the others are away.
  void Alone(const std::string& name, std::uint64_t round) {
    const Json answer = Program(name).Sync(UpdateOf(name, round));
    EXPECT_EQ(answer.at("participants"), Json({name}));
  }
  // What a fresh program gets: the newest model, which it has to load first.
  Json LoadedBy(const std::string& name) {
    Open(name, 1);
    Json answer = Program(name).Sync(UpdateOf(name, 7));
    EXPECT_EQ(answer.value("counted", true), false) << answer;
    return answer;
  }
  static bool IsKept(const Json& training, const std::string& name) {
    return training.at("phase") == "done" && Is(training, name, "holder");
  }

  std::map<std::string, std::unique_ptr<TestProgram>> programs_;
};

TEST_F(FaultsTest, AWaitingNodeSaysForWhomSinceWhenAndWhatIsNext) {
  Begin();

  Program("a").Offer(UpdateOf("a", 0));
  const std::string word = Program("a").AwaitWord("round 0: waiting for 1 of 2: b");

  EXPECT_THAT(word, AllOf(HasSubstr(": b, since "), HasSubstr("; next: they check in")));
  EXPECT_THAT(nodes_.at("a")->LogText(), HasSubstr(word));
  EXPECT_THAT(
      nodes_.at("a")->Readiness(),
      AllOf(HasSubstr("HTTP/1.1 200"), HasSubstr("round 0: waiting for 1 of 2: b, since ")));
}

TEST_F(FaultsTest, AVoteWaitsForTheDiskAndTheRoundGoesOnWhenItWorks) {
  Begin();
  std::filesystem::remove_all(Folder("a", "models"));

  Program("a").Offer(UpdateOf("a", 0));
  Program("b").Offer(UpdateOf("b", 0));
  const std::string word =
      Program("a").AwaitWord("the disk refuses what is to be kept: keeping a model");

  EXPECT_THAT(word, HasSubstr("; next: make room; it is tried again every second"));
  EXPECT_THAT(nodes_.at("a")->Readiness(), AllOf(HasSubstr("HTTP/1.1 503"), HasSubstr("disk: ")));
  EXPECT_TRUE(Said("round-merged", "author", "a").empty());
  std::filesystem::create_directory(Folder("a", "models"));
  const Json answer = Program("a").Receive();
  EXPECT_EQ(answer.at("type"), "merged");
  EXPECT_EQ(answer.at("counted"), true);
  EXPECT_EQ(Program("b").Receive().at("root"), answer.at("root"));
  EXPECT_EQ(Said("round-merged", "author", "a").size(), 1U);
}

TEST_F(FaultsTest, ADiskThatRefusesUpdatesCostsNoRound) {
  Begin();
  std::filesystem::remove_all(Folder("a", "updates"));

  for (std::uint64_t round = 0; round < 3; ++round)
    EXPECT_EQ(Round(round).at("a").at("counted"), true) << round;
  EXPECT_THAT(nodes_.at("a")->LogText(), HasSubstr("keeping an update"));
  std::filesystem::create_directory(Folder("a", "updates"));
  OfferFinish("a", 3);
  OfferFinish("b", 3);

  for (const std::string name : {"a", "b"}) {
    EXPECT_EQ(Program(name).Receive().at("over"), true);
    SayGoodbye(Program(name));
    EXPECT_EQ(nodes_.at(name)->End().value_or(-1), 0);
  }
}

TEST_F(FaultsTest, ARestartedNodeGoesOnInTheTrainingItWasIn) {
  Begin();
  ASSERT_EQ(Round(0).at("b").at("counted"), true);
  ASSERT_EQ(Round(1).at("b").at("counted"), true);
  const Json instance = Ask({.target = "/v1/contracts/t"}).at("instance");
  nodes_.at("b")->Stop();
  ASSERT_EQ(nodes_.at("b")->End().value_or(-1), 143);

  nodes_.at("b")->Start();
  WaitForTraining([](const Json& t) { return Is(t, "b", "present"); });
  Open("b");
  Program("b").Offer(UpdateOf("b", 7));  // A fresh program has not loaded the model yet.
  const Json loaded = Program("b").Receive();
  const std::map<std::string, Json> answers = Round(2);

  EXPECT_EQ(loaded.at("round"), 1);
  EXPECT_EQ(loaded.at("counted"), false);
  for (const auto& [name, answer] : answers) {
    EXPECT_EQ(answer.at("round"), 2) << name;
    EXPECT_EQ(answer.at("participants"), Json({"a", "b"})) << name;
  }
  const std::vector<Json> claims = Said("node-enrolled", "name", "b");
  ASSERT_EQ(claims.size(), 2U);
  EXPECT_FALSE(claims[0].contains("instance"));
  EXPECT_EQ(claims[1].at("instance"), instance);
}

TEST_F(FaultsTest, ARestartedNodeThatMissedRoundsFetchesTheModelWithWhatItHasKept) {
  Begin(1);
  Round(0);
  Restart("b", [this] { Alone("a", 1); });
  EXPECT_EQ(LoadedBy("b").at("round"), 1);
}

// Nothing here tells what a model looks like: the fetch waits for the program.
TEST_F(FaultsTest, ARestartedNodeThatHasLostItsModelsFetchesWhenItsProgramComes) {
  Begin(1);
  Round(0);
  Restart("b", [this] {
    Alone("a", 1);
    std::filesystem::remove_all(Folder("b", "models"));
    std::filesystem::remove_all(Folder("b", "updates"));
  });
  EXPECT_EQ(LoadedBy("b").at("round"), 1);
}

TEST_F(FaultsTest, AFinishedNodeServesOnWhenNoProgramComesAfterARestart) {
  Begin();
  ASSERT_EQ(Round(0).at("b").at("counted"), true);
  FinishAndStopB(1);

  nodes_.at("b")->config.program = {"/bin/true"};
  nodes_.at("b")->Start();
  OfferFinish("a", 1);
  const Json answer = Program("a").Receive();
  SayGoodbye(Program("a"));

  EXPECT_EQ(answer.at("over"), true);
  EXPECT_EQ(answer.at("participants"), Json({"a", "b"}));
  EXPECT_EQ(nodes_.at("a")->End().value_or(-1), 0);
  EXPECT_EQ(nodes_.at("b")->End().value_or(-1), 0);
  EXPECT_EQ(nodes_.at("b")->ResultFile().at("root"), answer.at("root"));
}

// The program of a node is started beside it and may take minutes to load its data.
TEST_F(FaultsTest, AProgramThatIsStillStartingWhenItsNodeIsThroughGetsTheFinalModel) {
  LeapingClock clock;
  nodes_["b"] = std::make_unique<LearningNodeThread>(authority_, clock, "b", sn_.endpoint());
  Add("a").Start();
  Open("a");
  nodes_.at("b")->Start();
  Open("b");
  ASSERT_EQ(Round(0).at("b").at("counted"), true);
  FinishAndStopB(1);
  const std::string fifo = Folder("b", "program-ends");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);

  nodes_.at("b")->config.program = {"/bin/sh", "-c", "read line < " + fifo};
  nodes_.at("b")->Start();
  OfferFinish("a", 1);
  const Json over = Program("a").Receive();
  SayGoodbye(Program("a"));
  WaitForTraining([](const Json& t) { return IsKept(t, "a") && IsKept(t, "b"); });
  clock.Leap(61s);
  Ask({.method = "POST",  // b hears of it, and that its time is over.
       .target = "/v1/contracts",
       .headers = {{"content-type", "application/json"}},
       .body = Json{{"name", "other"}, {"rules", Json::object()}}.dump()});
  while (nodes_.at("b")->LogText().find("finished: ") == std::string::npos)
    std::this_thread::yield();
  Open("b");
  const Json late = Program("b").Sync(UpdateOf("b", 7));
  SayGoodbye(Program("b"));
  { std::ofstream(fifo) << "end\n"; }

  EXPECT_EQ(late.at("over"), true);
  EXPECT_EQ(late.at("root"), over.at("root"));
  EXPECT_EQ(nodes_.at("b")->End().value_or(-1), 0);
}

// A program takes its time to say how well its model does.
TEST_F(FaultsTest, AResultIsOfItsOwnTrainingWhenTheNextOneHasBegun) {
  Begin();
  Round(0);
  for (const std::string name : {"a", "b"}) OfferFinish(name, 1);
  const Json over = Program("a").Receive();
  EXPECT_EQ(Program("b").Receive().at("over"), true);
  const Json first = Ask({.target = "/v1/contracts/t"}).at("instance");
  while (nodes_.at("a")->LogText().find("finished: ") == std::string::npos)
    std::this_thread::yield();
  Add("c").Start();
  Open("c", 2);
  ASSERT_NE(Ask({.target = "/v1/contracts/t"}).at("instance"), first);

  for (int i = 0; i < 200; ++i) {  // The SL reads the news at some time.
    ASSERT_EQ(Program("a").Ask({{"type", "result"}, {"loss", 0.5}}).at("type"), "ok");
    const Json result = nodes_.at("a")->ResultFile();
    ASSERT_EQ(result.at("instance"), first);
    ASSERT_EQ(result.at("root"), over.at("root"));
  }
}

// An SN that is not there yet, and a ledger of before: what it says of this node is over.
TEST_F(FaultsTest, AProgramThatOpensBeforeTheLogIsReadTrainsAnew) {
  Begin();
  Round(0);
  for (const std::string name : {"a", "b"}) OfferFinish(name, 1);
  for (const std::string name : {"a", "b"}) {
    EXPECT_EQ(Program(name).Receive().at("over"), true);
    SayGoodbye(Program(name));
    EXPECT_EQ(nodes_.at(name)->End().value_or(-1), 0);
  }
  const Json first = Ask({.target = "/v1/contracts/t"}).at("instance");
  ASSERT_TRUE(sn_.Stop().ok());

  std::vector<std::future<Json>> opened;
  for (const std::string name : {"a", "b"}) {
    nodes_.at(name)->Start();
    programs_[name] = std::make_unique<TestProgram>(nodes_.at(name)->socket());
    opened.push_back(std::async(std::launch::async, [this, &program = Program(name)] {
      return program.Open(OpeningOf(1, 2));
    }));
    const auto connected = [&] {
      const std::string text = nodes_.at(name)->LogText();
      const std::size_t one = text.find("program connected");
      return text.find("program connected", one + 1) != std::string::npos;
    };
    while (!connected()) std::this_thread::yield();
  }
  ASSERT_TRUE(sn_.Start());

  for (auto& each : opened) EXPECT_EQ(each.get().at("type"), "opened");
  EXPECT_FALSE(std::filesystem::exists(Folder("a", "result.json")));  // it told of the first
  for (const auto& [name, answer] : Round(0)) {
    EXPECT_EQ(answer.at("round"), 0) << name;
    EXPECT_EQ(answer.at("counted"), true) << name;
  }
  EXPECT_NE(Ask({.target = "/v1/contracts/t"}).at("instance"), first);
}

TEST_F(FaultsTest, AClaimThatTheLogNeverShowsIsSentAgainAsItIs) {
  Mailbox<std::string> claims;
  Party sn(clock_, MakeState(clock_, authority_, {&authority_}, {.path = "/swarm/sn"}),
           PeerPolicy{{}, {"*/sl"}});
  HttpServerOptions options;
  options.address = "127.0.0.1";
  std::atomic<bool> told = false;
  const Json empty = {{"position", -1}, {"head", HexOf(Digest{})}};
  const auto forgetful = [&](const HttpRequest& request, const std::stop_token& stop) {
    if (request.method == "POST") {
      claims.Push(Json::parse(request.body).at("claim"));
      return JsonResponse({{"position", 5}, {"head", HexOf(Digest{})}});
    }
    Mailbox<char> nobody;  // The log never grows.
    if (told.exchange(true)) static_cast<void>(nobody.Pop(stop, 60s));
    return JsonResponse({{"entries", Json::array()}, {"end", empty}, {"final", empty}});
  };
  const auto server = *HttpServer::Start(options, sn.tls.get(), forgetful, Log());
  LearningNodeThread node(authority_, clock_, "a", {"127.0.0.1", server->port()});
  node.config.stall_timeout = 20ms;
  node.Start();
  TestProgram program(node.socket());

  std::jthread opens([&] { static_cast<void>(program.Open(OpeningOf(1, 1))); });
  const std::optional<std::string> first = claims.Pop({}, 60s);
  const std::optional<std::string> second = claims.Pop({}, 60s);
  node.Stop();

  ASSERT_TRUE(first);
  EXPECT_EQ(first, second);
}

}  // namespace
}  // namespace starling
