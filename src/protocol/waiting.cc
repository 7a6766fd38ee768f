#include "protocol/waiting.h"

#include <array>
#include <cstdlib>
#include <utility>

#include "base/bytes.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::size_t kDetailMax = 500;

struct Words {
  std::string_view code;
  std::string_view what;
  std::string_view next;
};
constexpr std::string_view kTrustNext =
    "give the CA that signed its certificate to both sides with --cacert or --capath";
constexpr std::string_view kSilentNext =
    "look at its process: stopped (kill -CONT PID), hung or overloaded; else start it again";
// By stable code. What is not here has kUnknown.
constexpr std::array<Words, 24> kWords = {{
    {"connection-refused", "its port is closed",
     "start it, or open its port; compare the address that it gives with the one it listens on"},
    {"unreachable", "its address cannot be reached",
     "look at the routes and firewalls between the two, and at the address that it gives"},
    {"unknown-host", "its name does not resolve",
     "add the name to the DNS or to /etc/hosts here, or give an address instead (--host-ip)"},
    {"loopback-address", "its address is a loopback one",
     "give it a --host-ip that others reach, or all nodes --allow-loopback"},
    {"expired", "its certificate has expired",
     "have a new certificate issued for it and start it again; are the clocks right?"},
    {"not-yet-valid", "its certificate is not valid yet: a clock is wrong",
     "set the clocks of both machines (NTP)"},
    {"unknown-authority", "its certificate is of an unknown authority", kTrustNext},
    {"unknown-trust-domain", "its certificate is of an unknown trust domain", kTrustNext},
    {"no-certificate", "it shows no certificate", "start it with --cert and --key"},
    {"bad-svid", "its certificate names no workload as SPIFFE asks",
     "have a certificate issued with one URI name, spiffe://…"},
    {"wrong-path", "its certificate is for another role",
     "have a certificate issued with the right path, or allow this one (--sl-paths, --sn-paths)"},
    {"refused-by-peer", "it refuses this side's certificate",
     "read its log and its /readyz: they name what is wrong; are the clocks right?"},
    {"no-identity", "this node has no certificate to show it",
     "read /readyz of this node: it names what its identity waits for"},
    {"peer-no-identity", "it has no certificate to show",
     "read its /readyz: it names what its identity waits for"},
    {"connection-too-old", "the certificates of the connection to it ended before its answer came",
     "it is asked again on a new connection; if that fails, are certificates renewed in time?"},
    {"too-slow", "it takes connections and says nothing", kSilentNext},
    {"deadline-exceeded", "it takes connections and says nothing", kSilentNext},
    {"not-tls", "something else listens on its port", "compare its address and port"},
    {"not-found", "it is not in this training there",
     "its disk was wiped or another node has its port: start it again, or revoke it"},
    {"ledger-unavailable", "it cannot write to its ledger", "look at the disk of that SN"},
    {"ledger-locked", "its ledger is locked", "end the program that has ledger.db open"},
    {"catching-up", "it asks the other nodes for entries that it lacks", "it goes on by itself"},
    {"sentinel-away", "its sentinel does not answer it", "look at the sentinel"},
    {"disk-full", "its disk is full", "free space on that disk; it goes on by itself"},
}};
constexpr Words kUnknown = {"", "it does not answer", "is it running? its log says more"};

const Words& WordsOf(std::string_view code) {
  for (const Words& words : kWords) {
    if (words.code == code) return words;
  }
  return kUnknown;
}

}  // namespace

Trouble TroubleOf(const Status& failure) {
  const Words& words = WordsOf(StableCode(failure));
  std::string next = Printable(NextStep(failure), kDetailMax);
  if (next.empty()) next = words.next;
  const std::string detail = Printable(std::string(failure.message()), kDetailMax);
  return {detail.empty() ? std::string(words.what) : StrCat(words.what, ": ", detail),
          std::move(next)};
}

Trouble SilentTrouble() {
  const Words& words = WordsOf("too-slow");
  return {std::string(words.what), std::string(words.next)};
}

std::optional<Trouble> ClockTrouble(std::string_view whose, std::chrono::milliseconds ahead,
                                    std::string_view theirs) {
  if (ahead <= kClockOffMax && ahead >= -kClockOffMax) return std::nullopt;
  return Trouble{StrCat(whose, " is ", std::abs(ahead / 1s), " s ",
                        ahead.count() > 0 ? "ahead of " : "behind ", theirs,
                        ": tokens and certificates fail by it"),
                 "set the clocks of both machines (NTP); it goes on by itself"};
}

std::string NamesText(const std::vector<NodeName>& names) {
  std::string text;
  for (const NodeName& name : names) StrAppend(&text, text.empty() ? "" : ", ", name.value());
  return text;
}

std::string WaitSentence(const WaitWords& words) {
  return StrCat(words.what, words.on.empty() ? "" : ", waits for ", words.on, ", since ",
                words.since, "; next: ", words.next);
}

std::string WaitSentence(const Waiting& waiting, std::string since) {
  return WaitSentence(WaitWords{waiting.what, waiting.trouble ? "" : NamesText(waiting.on),
                                std::move(since), waiting.next});
}

}  // namespace starling
