#include "kube/yaml_text.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

#include "base/text.h"

namespace starling::kube {
namespace {

// Plain only what no reader of YAML 1.1 or 1.2 can take for a number, a truth, a date or syntax.
bool IsPlain(const std::string& text) {
  static const std::set<std::string, std::less<>> kWords = {
      "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf", "-.inf"};
  if (text.empty() || text.size() > 200) return false;
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (kWords.contains(lower)) return false;
  const std::size_t first = text.find_first_not_of("-.");  // an option, or a path as ../x
  if (first == std::string::npos || text.front() == ' ' || text.back() == ' ') return false;
  const bool path = text[first] == '/' || (text[first] == '$' && first == 0);
  if (std::isalpha(static_cast<unsigned char>(text[first])) == 0 && !path) return false;
  if (first > 0 && !path && text[0] != '-') return false;  // .inf, .nan
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool syntax = c == ':' && (i + 1 == text.size() || text[i + 1] == ' ');
    if (syntax || (std::isalnum(c) == 0 &&
                   std::string_view("/-_.:=$() ").find(text[i]) == std::string_view::npos))
      return false;
  }
  return true;
}

// Several lines that a block scalar keeps as they are.
bool IsBlock(const std::string& text) {
  if (text.find('\n') == std::string::npos || text.back() != '\n') return false;
  if (text[0] == ' ' || text[0] == '\n' || text.find("\n\n\n") != std::string::npos) return false;
  if (text.size() > 1 && text[text.size() - 2] == '\n') return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if ((c < 0x20 && c != '\n') || c >= 0x7f) return false;
    if (c == '\n' && i > 0 && text[i - 1] == ' ') return false;
  }
  return true;
}

// JSON's strings are YAML's, but for the characters that YAML takes for line breaks or refuses.
std::string Quoted(const std::string& text) {
  static constexpr std::pair<std::string_view, std::string_view> kEscaped[] = {
      {"\x7f", "\\u007f"},         {"\xe2\x80\xa8", "\\u2028"}, {"\xe2\x80\xa9", "\\u2029"},
      {"\xef\xbb\xbf", "\\ufeff"}, {"\xef\xbf\xbe", "\\ufffe"}, {"\xef\xbf\xbf", "\\uffff"}};
  const std::string json =
      OrderedJson(text).dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  std::string out;
  for (std::size_t i = 0; i < json.size();) {
    const std::string_view rest = std::string_view(json).substr(i);
    const auto* const found =
        std::find_if(std::begin(kEscaped), std::end(kEscaped),
                     [&](const auto& pair) { return rest.starts_with(pair.first); });
    if (found != std::end(kEscaped)) {
      StrAppend(&out, found->second);
      i += found->first.size();
    } else if (rest.size() > 1 && rest[0] == '\xc2' && static_cast<unsigned char>(rest[1]) < 0xa0) {
      StrAppend(&out, fmt::format("\\u00{:02x}", static_cast<unsigned char>(rest[1])));
      i += 2;
    } else {
      out.push_back(json[i++]);
    }
  }
  return out;
}

void Indent(std::string* out, int depth) { out->append(static_cast<std::size_t>(depth), ' '); }

void PutText(std::string* out, const std::string& text, int depth) {
  if (IsPlain(text)) {
    StrAppend(out, " ", text, "\n");
    return;
  }
  if (!IsBlock(text)) {
    StrAppend(out, " ", Quoted(text), "\n");
    return;
  }
  StrAppend(out, " |\n");
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = text.find('\n', start);
    if (end > start) Indent(out, depth);
    StrAppend(out, std::string_view(text).substr(start, end - start + 1));
    start = end + 1;
  }
}

void Put(std::string* out, const OrderedJson& value, int depth, bool in_list);

void PutMember(std::string* out, const std::string& key, const OrderedJson& value, int depth) {
  StrAppend(out, IsPlain(key) ? key : Quoted(key), ":");
  // Lists stand as deep as their key, as kubectl writes them.
  if (value.is_structured() && !value.empty()) StrAppend(out, "\n");
  if (value.is_array() && !value.empty()) {
    Put(out, value, depth, false);
  } else {
    Put(out, value, depth + 2, false);
  }
}

void Put(std::string* out, const OrderedJson& value, int depth, bool in_list) {
  if (value.is_object() && !value.empty()) {
    bool first = in_list;  // It stands behind the dash.
    for (const auto& [key, inner] : value.items()) {
      if (!first) Indent(out, depth);
      first = false;
      PutMember(out, key, inner, depth);
    }
  } else if (value.is_array() && !value.empty()) {
    for (const OrderedJson& inner : value) {
      Indent(out, depth);
      StrAppend(out, "-");
      const bool behind = inner.is_object() && !inner.empty();
      if (behind) StrAppend(out, " ");
      if (inner.is_array() && !inner.empty()) StrAppend(out, "\n");
      Put(out, inner, depth + 2, behind);
    }
  } else if (value.is_string()) {
    PutText(out, value.get_ref<const std::string&>(), depth);
  } else {
    StrAppend(out, " ", value.dump(), "\n");  // numbers, truths, null, {} and []
  }
}

}  // namespace

std::string YamlText(const OrderedJson& value) {
  std::string out;
  if (value.is_structured() && !value.empty()) {
    Put(&out, value, 0, false);
  } else {
    Put(&out, value, 2, false);
    out.erase(0, 1);  // the blank behind a key that is not there
  }
  return out;
}

std::string YamlText(const std::vector<OrderedJson>& documents) {
  std::string out;
  for (const OrderedJson& document : documents)
    StrAppend(&out, out.empty() ? "" : "---\n", YamlText(document));
  return out;
}

}  // namespace starling::kube
