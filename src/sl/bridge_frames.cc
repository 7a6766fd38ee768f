#include "sl/bridge_frames.h"

#include "base/check.h"
#include "base/text.h"

namespace starling {
namespace {

constexpr std::size_t kTensorsMax = 100'000;

// Numbers that a program measured: any finite value, or nothing ("no metric" is not 0).
Status TakeMeasure(const Json& object, std::string_view member, std::optional<double>& out) {
  if (!Has(object, member) || object.at(std::string(member)).is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(out, GetNumber(object, member));
  return absl::OkStatus();
}

Result<CheckinReport> TakeReport(const Json& object) {
  CheckinReport report;
  ASSIGN_OR_RETURN(report.batches, GetUint(object, "batches"));
  ASSIGN_OR_RETURN(report.train_ms, GetUint(object, "train_ms"));
  RETURN_IF_ERROR(TakeMeasure(object, "loss", report.loss));
  RETURN_IF_ERROR(TakeMeasure(object, "metric", report.metric));
  RETURN_IF_ERROR(TakeMeasure(object, "base_loss", report.base_loss));
  RETURN_IF_ERROR(TakeMeasure(object, "base_metric", report.base_metric));
  return report;
}

Result<TensorSpec> TakeTensor(const Json& object) {
  TensorSpec spec;
  ASSIGN_OR_RETURN(spec.name, GetString(object, "name", 512));
  ASSIGN_OR_RETURN(const std::string dtype, GetString(object, "dtype", 16));
  ASSIGN_OR_RETURN(spec.dtype, ParseDType(dtype));
  ASSIGN_OR_RETURN(const Json* const shape, GetArray(object, "shape", 8));
  for (const Json& extent : *shape) {
    if (!extent.is_number_unsigned())
      return absl::InvalidArgumentError("a shape of whole numbers is expected");
    spec.shape.push_back(extent.get<std::uint64_t>());
  }
  return spec;
}

Result<ProgramFrame> TakeOpen(const Json& object) {
  ASSIGN_OR_RETURN(const std::uint64_t version, GetUint(object, "bridge"));
  if (version != kBridgeVersion) {
    return WithNext(
        WithCode(
            absl::FailedPreconditionError(StrCat(
                "Mismatch in the Swarm API version between ML and SL containers. Expected version ",
                kBridgeVersion, ", but the version received from the header is ", version)),
            "bridge-version"),
        "install the starling Python package of the SL's release");
  }
  OpenFrame open;
  ASSIGN_OR_RETURN(open.client, GetString(object, "client", 128));
  ASSIGN_OR_RETURN(open.platform, GetString(object, "platform", 64));
  ASSIGN_OR_RETURN(const std::string contract, GetString(object, "contract", 256));
  ASSIGN_OR_RETURN(open.contract, ParseContractName(contract));
  ASSIGN_OR_RETURN(open.weight, GetUint(object, "weight"));
  ASSIGN_OR_RETURN(const Json* const rules, GetObject(object, "rules"));
  RETURN_IF_ERROR(OnlyMembers(*rules, {"sync_interval", "min_peers", "merge"}));
  ASSIGN_OR_RETURN(open.rules, ParseRules(*rules));
  ASSIGN_OR_RETURN(const Json* const tensors, GetArray(object, "tensors", kTensorsMax));
  for (const Json& tensor : *tensors) {
    ASSIGN_OR_RETURN(TensorSpec spec, TakeTensor(tensor));
    open.tensors.push_back(std::move(spec));
  }
  if (Has(object, "total_epochs")) {
    ASSIGN_OR_RETURN(open.total_epochs, GetUint(object, "total_epochs"));
  }
  return ProgramFrame{std::move(open)};
}

Result<ProgramFrame> TakeSync(const Json& object) {
  SyncFrame sync;
  ASSIGN_OR_RETURN(sync.report, TakeReport(object));
  if (Has(object, "epoch")) {
    ASSIGN_OR_RETURN(sync.epoch, GetUint(object, "epoch"));
  }
  return ProgramFrame{sync};
}

Result<ProgramFrame> TakeFinish(const Json& object) {
  FinishFrame finish;
  ASSIGN_OR_RETURN(finish.report, TakeReport(object));
  ASSIGN_OR_RETURN(const std::string mode, GetString(object, "mode", 16));
  if (mode == "snapshot")
    finish.mode = FinishMode::kSnapshot;
  else if (mode == "active")
    finish.mode = FinishMode::kActive;
  else if (mode == "inactive")
    finish.mode = FinishMode::kInactive;
  else
    return absl::InvalidArgumentError("mode is snapshot, active or inactive");
  return ProgramFrame{finish};
}

Result<ProgramFrame> TakeResult(const Json& object) {
  ResultFrame result;
  RETURN_IF_ERROR(TakeMeasure(object, "loss", result.loss));
  RETURN_IF_ERROR(TakeMeasure(object, "metric", result.metric));
  return ProgramFrame{result};
}

Result<ProgramFrame> TakeLog(const Json& object) {
  LogFrame log;
  ASSIGN_OR_RETURN(const Json* const lines, GetArray(object, "lines", 1000));
  for (const Json& line : *lines) {
    if (!line.is_string()) return absl::InvalidArgumentError("log lines are texts");
    log.lines.push_back(Printable(line.get_ref<const std::string&>(), 500));
  }
  if (log.lines.size() > kLogLinesMax)
    log.lines.erase(log.lines.begin(), log.lines.end() - static_cast<std::ptrdiff_t>(kLogLinesMax));
  return ProgramFrame{std::move(log)};
}

Result<ProgramFrame> TakeGoodbye(const Json& object) {
  GoodbyeFrame goodbye;
  ASSIGN_OR_RETURN(goodbye.reason, GetString(object, "reason", 64));
  if (Has(object, "exception") && object.at("exception").is_string()) {
    goodbye.exception = Printable(object.at("exception").get_ref<const std::string&>(), 500);
  }
  return ProgramFrame{std::move(goodbye)};
}

}  // namespace

Result<ProgramFrame> ParseFrame(std::string_view json) {
  ASSIGN_OR_RETURN(const Json object,
                   ParseJson(json, {.bytes_max = kFrameBytesMax, .depth_max = 6}));
  ASSIGN_OR_RETURN(const std::string type, GetString(object, "type", 32));
  if (type == "open") return TakeOpen(object);
  if (type == "sync") return TakeSync(object);
  if (type == "finish") return TakeFinish(object);
  if (type == "result") return TakeResult(object);
  if (type == "log") return TakeLog(object);
  if (type == "goodbye") return TakeGoodbye(object);
  return absl::InvalidArgumentError(
      StrCat("a frame of unknown type \"", Printable(type, 32), "\""));
}

std::string EncodeFrame(const Json& object) {
  const std::string text = object.dump(-1, ' ', false, Json::error_handler_t::replace);
  CHECK(text.size() <= kFrameBytesMax);
  Bytes length;
  AppendU32(static_cast<std::uint32_t>(text.size()), length);
  return ToString(length) + text;
}

Result<std::size_t> FrameLength(ByteSpan four) {
  const std::size_t length = ReadU32(four);
  if (length == 0 || length > kFrameBytesMax)
    return WithCode(absl::InvalidArgumentError(StrCat("a frame of ", length, " bytes; 1 to ",
                                                      kFrameBytesMax, " are allowed")),
                    "bad-frame");
  return length;
}

Json OpenedFrame(const Layout& layout, std::uint64_t arena_bytes, const NodeName& node,
                 const ContractName& contract, std::uint64_t round) {
  Json tensors = Json::array();
  for (const TensorPlace& tensor : layout.tensors()) {
    tensors.push_back({{"name", tensor.spec.name},
                       {"dtype", NameOf(tensor.spec.dtype)},
                       {"shape", tensor.spec.shape},
                       {"begin", tensor.begin},
                       {"end", tensor.end}});
  }
  return {{"type", "opened"},
          {"bridge", kBridgeVersion},
          {"size", layout.size()},
          {"data_start", layout.data_start()},
          {"arena_bytes", arena_bytes},
          {"tensors", std::move(tensors)},
          {"node", node.value()},
          {"contract", contract.value()},
          {"round", round}};
}

Json ErrorFrame(const Status& status, std::string_view component) {
  return {{"type", "error"},
          {"code", StableCode(status)},
          {"cause", Printable(std::string(status.message()), 2000)},
          {"component", std::string(component)},
          {"next", NextStep(status)}};
}

Json WaitingFrame(std::string_view text) {
  return {{"type", "waiting"}, {"text", std::string(text)}};
}

}  // namespace starling
