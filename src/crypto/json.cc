#include "crypto/json.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"

namespace starling {
namespace {

// nlohmann's own DOM keeps the last of two members silently and knows no depth limit, hence this
// builder over its SAX events.
class StrictBuilder final : public nlohmann::json_sax<Json> {
 public:
  explicit StrictBuilder(int depth_max) : depth_max_(depth_max) {}
  Json Take() { return std::move(root_); }
  [[nodiscard]] const std::string& problem() const { return problem_; }

  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(number_integer_t value) override {
    return value < -static_cast<std::int64_t>(kJsonIntegerMax) ? Fail("an integer beyond 2^53")
                                                               : Put(value);
  }
  bool number_unsigned(number_unsigned_t value) override {
    return value > kJsonIntegerMax ? Fail("an integer beyond 2^53") : Put(value);
  }
  bool number_float(number_float_t value, const string_t& text) override {
    const bool fraction = text.find_first_of(".eE") != std::string::npos;
    return !fraction || !std::isfinite(value) ? Fail("a number out of range") : Put(value);
  }
  bool string(string_t& value) override { return Put(std::move(value)); }
  bool binary(binary_t& /*value*/) override { return Fail("binary"); }
  bool start_object(std::size_t /*count*/) override { return Open(Json::object()); }
  bool start_array(std::size_t /*count*/) override { return Open(Json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(string_t& value) override {
    if (open_.back()->contains(value))
      return Fail(StrCat("the member \"", Printable(value, 64), "\" stands twice"));
    key_ = std::move(value);
    return true;
  }
  bool parse_error(std::size_t position, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return Fail(StrCat("not JSON at byte ", position));
  }

 private:
  bool Fail(std::string problem) {
    if (problem_.empty()) problem_ = std::move(problem);
    return false;
  }
  Json* Place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }
  bool Put(Json value) {
    Place(std::move(value));
    return true;
  }
  bool Open(Json value) {
    if (static_cast<int>(open_.size()) >= depth_max_) return Fail("nested too deeply");
    open_.push_back(Place(std::move(value)));
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  const int depth_max_;
  Json root_;
  // A parent holds its children by value and only its last child is open, so these stay valid.
  std::vector<Json*> open_;
  std::string key_;
  std::string problem_;
};

bool HasFraction(const Json& value) {
  if (value.is_number_float()) return true;
  return value.is_structured() && std::any_of(value.begin(), value.end(),
                                              [](const Json& each) { return HasFraction(each); });
}

Status Wrong(std::string_view member, std::string_view what) {
  return absl::InvalidArgumentError(StrCat("member \"", Printable(member, 64), "\" ", what));
}

Result<const Json*> Find(const Json& object, std::string_view member) {
  if (!object.is_object()) return absl::InvalidArgumentError("not an object");
  const auto it = object.find(std::string(member));
  if (it == object.end()) return Wrong(member, "is missing");
  return &*it;
}

}  // namespace

Result<Json> ParseJson(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.bytes_max)
    return absl::ResourceExhaustedError(
        StrCat("JSON of ", text.size(), " bytes; at most ", limits.bytes_max));
  if (!IsUtf8(text)) return absl::InvalidArgumentError("JSON: not UTF-8");
  // nlohmann's reader ends at a NUL and skips a byte order mark; neither is JSON.
  if (text.find('\0') != std::string_view::npos || text.starts_with("\xef\xbb\xbf"))
    return absl::InvalidArgumentError("JSON: a NUL byte or a byte order mark");
  StrictBuilder builder(limits.depth_max);
  if (!Json::sax_parse(text, &builder)) {
    return absl::InvalidArgumentError(
        StrCat("JSON: ", builder.problem().empty() ? "not well-formed" : builder.problem()));
  }
  return builder.Take();
}

std::string CanonicalJson(const Json& value) {
  CHECK(!HasFraction(value));
  return JsonText(value);
}

std::string JsonText(const Json& value) {
  // Replacing instead of nlohmann's default: a throw on text that is not UTF-8.
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> GetString(const Json& object, std::string_view member, std::size_t bytes_max) {
  ASSIGN_OR_RETURN(const Json* const value, Find(object, member));
  if (!value->is_string()) return Wrong(member, "is not a string");
  const auto& text = value->get_ref<const std::string&>();
  if (text.size() > bytes_max) return Wrong(member, StrCat("is longer than ", bytes_max, " bytes"));
  return text;
}

Result<std::uint64_t> GetUint(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const Json* const value, Find(object, member));
  // A value made in memory may be a signed integer; a parsed one is unsigned when it is not
  // negative.
  if (!value->is_number_integer() ||
      (!value->is_number_unsigned() && value->get<std::int64_t>() < 0))
    return Wrong(member, "is not a whole number from 0 on");
  return value->get<std::uint64_t>();
}

Result<double> GetNumber(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const Json* const value, Find(object, member));
  if (!value->is_number() || !std::isfinite(value->get<double>()))
    return Wrong(member, "is not a number");
  return value->get<double>();
}

Result<bool> GetBool(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const Json* const value, Find(object, member));
  if (!value->is_boolean()) return Wrong(member, "is not true or false");
  return value->get<bool>();
}

Result<const Json*> GetArray(const Json& object, std::string_view member, std::size_t items_max) {
  ASSIGN_OR_RETURN(const Json* const value, Find(object, member));
  if (!value->is_array()) return Wrong(member, "is not a list");
  if (value->size() > items_max)
    return Wrong(member, StrCat("has more than ", items_max, " items"));
  return value;
}

Result<const Json*> GetObject(const Json& object, std::string_view member) {
  ASSIGN_OR_RETURN(const Json* const value, Find(object, member));
  if (!value->is_object()) return Wrong(member, "is not an object");
  return value;
}

bool Has(const Json& object, std::string_view member) {
  return object.is_object() && object.contains(std::string(member));
}

Status OnlyMembers(const Json& object, std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return absl::InvalidArgumentError("not an object");
  for (const auto& item : object.items()) {
    if (std::find(known.begin(), known.end(), std::string_view(item.key())) == known.end())
      return Wrong(item.key(), "is not known here");
  }
  return absl::OkStatus();
}

}  // namespace starling
