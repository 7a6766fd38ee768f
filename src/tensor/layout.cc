#include "tensor/layout.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/limits.h"
#include "base/text.h"
#include "crypto/json.h"

namespace starling {
namespace {

constexpr std::size_t kTensorsMax = 100'000;
constexpr std::size_t kHeaderBytesMax = std::size_t{16} << 20;
constexpr std::size_t kDimensionsMax = 8;
constexpr std::size_t kTensorNameMax = 512;
constexpr std::uint64_t kAlignment = 64;

Status Bad(std::string text) {
  return WithCode(absl::InvalidArgumentError(std::move(text)), "bad-layout");
}

std::uint64_t ReadLittleU64(ByteSpan eight) {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i > 0; --i)
    value = (value << 8U) | std::to_integer<std::uint64_t>(eight[i - 1]);
  return value;
}

// Elements × element size, or an error when it is out of bounds.
Result<std::uint64_t> ByteSizeOf(const TensorSpec& spec) {
  std::uint64_t bytes = SizeOf(spec.dtype);
  for (const std::uint64_t extent : spec.shape) {
    if (extent > kBlobBytesMax || (extent != 0 && bytes > kBlobBytesMax / extent))
      return Bad(StrCat("tensor \"", Printable(spec.name), "\" is too large"));
    bytes *= extent;
  }
  return bytes;
}

std::string ShapeText(const TensorSpec& spec) {
  std::string text = "[";
  for (std::size_t i = 0; i < spec.shape.size(); ++i)
    StrAppend(&text, i == 0 ? "" : ",", spec.shape[i]);
  return text + "]";
}

Status CheckSpec(const TensorSpec& spec) {
  if (spec.name.empty() || spec.name.size() > kTensorNameMax || !IsUtf8(spec.name))
    return Bad("a tensor's name has 1 to 512 bytes of UTF-8");
  if (spec.name == "__metadata__") return Bad("no tensor may be named __metadata__");
  if (spec.shape.size() > kDimensionsMax)
    return Bad(StrCat("tensor \"", Printable(spec.name), "\" has more than 8 dimensions"));
  return absl::OkStatus();
}

std::string HeaderText(const std::vector<TensorPlace>& tensors, std::uint64_t data_start) {
  std::string text = "{";
  for (const TensorPlace& tensor : tensors) {
    StrAppend(&text, text.size() > 1 ? "," : "", Json(tensor.spec.name).dump(), R"(:{"dtype":")",
              NameOf(tensor.spec.dtype), R"(","shape":)", ShapeText(tensor.spec),
              R"(,"data_offsets":[)", tensor.begin - data_start, ",", tensor.end - data_start,
              "]}");
  }
  return text + "}";
}

Result<TensorSpec> ParseTensor(const std::string& name, const Json& value) {
  RETURN_IF_ERROR(OnlyMembers(value, {"dtype", "shape", "data_offsets"}));
  TensorSpec spec;
  spec.name = name;
  ASSIGN_OR_RETURN(const std::string dtype, GetString(value, "dtype", 16));
  ASSIGN_OR_RETURN(spec.dtype, ParseDType(dtype));
  ASSIGN_OR_RETURN(const Json* const shape, GetArray(value, "shape", kDimensionsMax));
  for (const Json& extent : *shape) {
    if (!extent.is_number_unsigned())
      return Bad(StrCat("tensor \"", Printable(name), "\": a shape of whole numbers is expected"));
    spec.shape.push_back(extent.get<std::uint64_t>());
  }
  return spec;
}

}  // namespace

Result<Layout> Layout::Make(std::vector<TensorSpec> specs) {
  if (specs.empty() || specs.size() > kTensorsMax)
    return Bad("a model has between 1 and 100,000 tensors");
  for (const TensorSpec& spec : specs) RETURN_IF_ERROR(CheckSpec(spec));
  std::sort(specs.begin(), specs.end(), [](const TensorSpec& a, const TensorSpec& b) {
    return SizeOf(a.dtype) != SizeOf(b.dtype) ? SizeOf(a.dtype) > SizeOf(b.dtype) : a.name < b.name;
  });
  Layout layout;
  std::map<std::string_view, int> names;
  std::uint64_t offset = 0;
  for (const TensorSpec& spec : specs) {
    if (++names[spec.name] > 1)
      return Bad(StrCat("the tensor \"", Printable(spec.name), "\" stands twice"));
    ASSIGN_OR_RETURN(const std::uint64_t bytes, ByteSizeOf(spec));
    layout.tensors_.push_back({spec, offset, offset + bytes});
    offset += bytes;
    if (offset > kBlobBytesMax) return Bad("the model is too large");
  }
  const std::string json = HeaderText(layout.tensors_, 0);
  const std::uint64_t data_start = (8 + json.size() + kAlignment - 1) / kAlignment * kAlignment;
  if (data_start > kHeaderBytesMax) return Bad("the header is larger than 16 MiB");
  for (std::uint64_t value = data_start - 8, i = 0; i < 8; ++i, value >>= 8U)
    layout.header_.push_back(static_cast<char>(value & 255U));
  layout.header_ += json;
  layout.header_.resize(data_start, ' ');
  for (TensorPlace& tensor : layout.tensors_) {
    tensor.begin += data_start;
    tensor.end += data_start;
  }
  layout.size_ = data_start + offset;
  layout.schema_ = RootOf(AsBytes(layout.header_));
  return layout;
}

Result<Layout> Layout::Parse(ByteSpan prefix) {
  if (prefix.size() < 8) return Bad("shorter than a header");
  const std::uint64_t length = ReadLittleU64(prefix.first(8));
  if (length > kHeaderBytesMax - 8 || length + 8 > prefix.size())
    return Bad("the header's length is out of bounds");
  const std::string_view text = AsText(prefix.subspan(8, length));
  ASSIGN_OR_RETURN(const Json json,
                   ParseJson(text, {.bytes_max = kHeaderBytesMax, .depth_max = 4}));
  if (!json.is_object()) return Bad("the header is not an object");
  std::vector<TensorSpec> specs;
  for (const auto& [name, value] : json.items()) {
    ASSIGN_OR_RETURN(TensorSpec spec, ParseTensor(name, value));
    specs.push_back(std::move(spec));
  }
  ASSIGN_OR_RETURN(Layout layout, Make(std::move(specs)));
  // One list of tensors has one header: whatever else the bytes say (offsets, order, spaces) must
  // be that header.
  if (AsText(prefix.first(length + 8)) != layout.header_)
    return Bad("the header is not in canonical form");
  return layout;
}

std::string Difference(const Layout& here, const Layout& there, std::size_t lines) {
  std::map<std::string, std::pair<const TensorSpec*, const TensorSpec*>> all;
  for (const TensorPlace& tensor : here.tensors()) all[tensor.spec.name].first = &tensor.spec;
  for (const TensorPlace& tensor : there.tensors()) all[tensor.spec.name].second = &tensor.spec;
  std::string text;
  std::size_t count = 0;
  const auto words = [](const TensorSpec& spec) {
    return StrCat(NameOf(spec.dtype), " ", ShapeText(spec));
  };
  for (const auto& [name, pair] : all) {
    const auto& [a, b] = pair;
    if (a != nullptr && b != nullptr && *a == *b) continue;
    if (++count > lines) continue;
    StrAppend(&text, text.empty() ? "" : "; ", Printable(name, 80), ": ");
    if (a == nullptr || b == nullptr)
      StrAppend(&text, "only ", a != nullptr ? "here" : "there", " (",
                words(a != nullptr ? *a : *b), ")");
    else
      StrAppend(&text, words(*a), " here, ", words(*b), " there");
  }
  if (count > lines) StrAppend(&text, "; and ", count - lines, " more");
  return text;
}

}  // namespace starling
