#include "policy-compiler/parse/yaml_reader.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <istream>
#include <map>
#include <set>
#include <streambuf>
#include <utility>

namespace weir::policy {
namespace {

// The text, and a document end behind it. Without that yaml-cpp takes the end of the text for the
// closing quote of a text that has none; with it that is an error.
class ViewBuffer : public std::streambuf {
public:
  explicit ViewBuffer(std::string_view text) : x_end(text.ends_with('\n') ? "...\n" : "\n...\n") {
    put(text);
  }

private:
  int_type underflow() override {
    if (gptr() == egptr() && !x_end.empty()) {
      put(std::exchange(x_end, {}));
    }
    return gptr() == egptr() ? traits_type::eof() : traits_type::to_int_type(*gptr());
  }
  void put(std::string_view text) {
    char* begin = const_cast<char*>(text.data()); // std::streambuf reads only, through this
    setg(begin, begin, begin + text.size());
  }

  std::string_view x_end;
};

// Thrown through yaml-cpp, which offers no other way to stop; caught in read_part. The mark counts
// from the part's first line.
struct Refused {
  YAML::Mark mark;
  std::string message;
  std::string hint;
  std::string code;
};

class TreeBuilder : public YAML::EventHandler {
public:
  // `lines_before`: of the file, before the text that is read.
  TreeBuilder(std::string_view file, int lines_before)
      : x_file(file), x_lines_before(lines_before) {}

  std::shared_ptr<YamlNode> root;
  Diagnostics diagnostics;
  YAML::Mark start;

  void OnDocumentStart(const YAML::Mark& mark) override { start = mark; }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(YamlNode::Kind::kNull, mark), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    auto node = make(YamlNode::Kind::kScalar, mark);
    node->plain = tag == "?" || tag.empty();
    if (!node->plain && tag != "!" && tag != "tag:yaml.org,2002:str") {
      throw Refused{mark, "tag `" + tag + "` is not read", "remove it", "yaml-tag"};
    }
    if (node->plain && (value == "~" || value == "null" || value == "Null" || value == "NULL")) {
      node->kind = YamlNode::Kind::kNull;
    }
    node->scalar = value;
    add(std::move(node), anchor);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(make(YamlNode::Kind::kSequence, mark), anchor);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& /*tag*/, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(make(YamlNode::Kind::kMap, mark), anchor);
  }
  void OnMapEnd() override { close(); }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = x_anchors.find(anchor);
    if (found == x_anchors.end()) {
      throw Refused{mark, "an alias inside what it stands for", "", "yaml-alias"};
    }
    attach(found->second, mark);
  }

private:
  struct Open {
    std::shared_ptr<YamlNode> node;
    YAML::anchor_t anchor;
    bool have_key = false;
    YamlNode::Entry entry;
    std::set<std::string> keys;
  };

  std::shared_ptr<YamlNode> make(YamlNode::Kind kind, const YAML::Mark& mark) {
    auto node = std::make_shared<YamlNode>();
    node->kind = kind;
    node->line = mark.line + 1 + x_lines_before;
    node->column = mark.column + 1;
    return node;
  }

  void add(std::shared_ptr<YamlNode> node, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) {
      x_anchors[anchor] = node;
    }
    YAML::Mark mark;
    mark.line = node->line - 1 - x_lines_before;
    mark.column = node->column - 1;
    attach(std::move(node), mark);
  }

  void open(std::shared_ptr<YamlNode> node, YAML::anchor_t anchor) {
    if (!x_open.empty() && x_open.back().node->kind == YamlNode::Kind::kMap &&
        !x_open.back().have_key) {
      YAML::Mark mark;
      mark.line = node->line - 1 - x_lines_before;
      mark.column = node->column - 1;
      throw Refused{mark, "a key must be a text", "", "yaml-key"};
    }
    x_open.push_back({std::move(node), anchor, false, {}, {}});
  }

  void close() {
    Open done = std::move(x_open.back());
    x_open.pop_back();
    if (done.anchor != YAML::NullAnchor) {
      x_anchors[done.anchor] = done.node;
    }
    YAML::Mark mark;
    mark.line = done.node->line - 1 - x_lines_before;
    mark.column = done.node->column - 1;
    attach(std::move(done.node), mark);
  }

  // Puts a finished node where it belongs.
  void attach(std::shared_ptr<YamlNode> node, const YAML::Mark& mark) {
    if (x_open.empty()) {
      root = std::move(node);
      return;
    }
    Open& parent = x_open.back();
    parent.node->size += node->size;
    if (parent.node->size > kMaxNodes) {
      throw Refused{mark, "more than " + std::to_string(kMaxNodes) + " values in one document",
                    "split it; aliases count as often as they are used", "too-large"};
    }
    if (parent.node->kind == YamlNode::Kind::kSequence) {
      parent.node->items.push_back(std::move(node));
      return;
    }
    if (!parent.have_key) {
      if (node->kind != YamlNode::Kind::kScalar) {
        throw Refused{mark, "a key must be a text", "", "yaml-key"};
      }
      if (node->plain && node->scalar == "<<") {
        throw Refused{mark, "merge keys (`<<`) are not read", "write the fields out", "yaml-merge"};
      }
      parent.have_key = true;
      parent.entry = {node->scalar, node->line, node->column, nullptr};
      if (!parent.keys.insert(node->scalar).second) {
        diagnostics.push_back({Severity::kError,
                               {std::string(x_file), node->line, node->column},
                               "duplicate key `" + node->scalar + "`",
                               "keep one of them",
                               "duplicate-key"});
      }
      return;
    }
    parent.entry.value = std::move(node);
    parent.node->entries.push_back(std::move(parent.entry));
    parent.have_key = false;
  }

  std::string_view x_file;
  int x_lines_before;
  std::vector<Open> x_open;
  std::map<YAML::anchor_t, std::shared_ptr<YamlNode>> x_anchors;
};

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

// A line `---`, alone or before a space: the start of a document. YAML allows it nowhere else in
// the first column, not even in quotes or block texts, so that a file can be cut there unread.
bool starts_document(std::string_view line) {
  return line.starts_with("---") &&
         (line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}

bool is_content(std::string_view line) {
  const auto first = line.find_first_not_of(" \t\r");
  return first != std::string_view::npos && line[first] != '#' && line[0] != '%';
}

struct Part {
  std::string_view text;
  int lines_before = 0;
};

// The text cut at its document starts; directives and comments stay with what follows them.
std::vector<Part> parts_of(std::string_view text) {
  std::vector<Part> out;
  std::size_t begin = 0;
  int begin_line = 0;
  int line_number = 0;
  bool content = false;
  for (std::size_t at = 0; at < text.size(); ++line_number) {
    const auto end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (starts_document(line) && content) {
      out.push_back({text.substr(begin, at - begin), begin_line});
      begin = at;
      begin_line = line_number;
      content = false;
    }
    content = content || starts_document(line) || is_content(line);
    at = end + 1;
  }
  out.push_back({text.substr(std::min(begin, text.size())), begin_line});
  return out;
}

// What is likely the matter with a line that is no YAML.
std::string hint_for(std::string_view text, const YAML::Mark& mark) {
  for (int skipped = 0; skipped < mark.line && text.find('\n') != std::string_view::npos;
       ++skipped) {
    text.remove_prefix(text.find('\n') + 1);
  }
  const std::string_view line = text.substr(0, text.find('\n'));
  if (line.find("{{") != std::string_view::npos) {
    return "this looks like a template: fill it in first";
  }
  const auto first = line.find_first_not_of(" \t");
  if (line.substr(0, first).find('\t') != std::string_view::npos) {
    return "tabs cannot indent YAML: use spaces";
  }
  return "look at the indentation and the quotes here and in the line above";
}

void read_part(std::string_view file, const Part& part, std::vector<YamlDocument>& documents) {
  const auto refuse = [&](const YAML::Mark& mark, std::string message, std::string hint,
                          std::string code) {
    YamlDocument broken;
    if (!mark.is_null()) {
      broken.line = mark.line + 1 + part.lines_before;
    }
    broken.diagnostics.push_back({Severity::kError,
                                  {std::string(file), broken.line, mark.column + 1},
                                  std::move(message),
                                  std::move(hint),
                                  std::move(code)});
    documents.push_back(std::move(broken));
  };
  ViewBuffer buffer(part.text);
  std::istream stream(&buffer);
  try {
    YAML::Parser parser(stream);
    int last = -1;
    while (true) {
      TreeBuilder builder(file, part.lines_before);
      if (!parser.HandleNextDocument(builder)) {
        break;
      }
      // A token that begins no node (a comma, say) is an empty document to yaml-cpp, and stays
      // there for ever.
      if (builder.start.pos <= last) {
        throw Refused{builder.start, "nothing can begin here", "", "yaml-syntax"};
      }
      last = builder.start.pos;
      if (builder.root && builder.root->kind != YamlNode::Kind::kNull) {
        documents.push_back({builder.root, builder.root->line, std::move(builder.diagnostics)});
      }
    }
  } catch (const Refused& refused) {
    refuse(refused.mark, refused.message,
           refused.hint.empty() ? hint_for(part.text, refused.mark) : refused.hint, refused.code);
  } catch (const YAML::Exception& error) {
    // The document end that ViewBuffer adds is what stops in a text without its closing quote.
    const bool quote = error.msg == YAML::ErrorMsg::DOC_IN_SCALAR;
    refuse(error.mark, quote ? "a text in quotes that does not end" : error.msg,
           quote ? "close the quote" : hint_for(part.text, error.mark), "yaml-syntax");
  } catch (const std::exception& error) {
    refuse(YAML::Mark::null_mark(), error.what(), "", "yaml-syntax");
  }
}

} // namespace

bool YamlNode::is_boolean() const {
  return kind == Kind::kScalar && plain &&
         is_one_of(scalar, {"true", "True", "TRUE", "false", "False", "FALSE", "y",  "Y",
                            "yes",  "Yes",  "YES",  "n",     "N",     "no",    "No", "NO",
                            "on",   "On",   "ON",   "off",   "Off",   "OFF"});
}

bool YamlNode::is_number() const {
  if (kind != Kind::kScalar || !plain || scalar.empty()) {
    return false;
  }
  std::string text = scalar;
  text.erase(std::remove(text.begin(), text.end(), '_'), text.end());
  std::size_t at = text[0] == '-' || text[0] == '+' ? 1 : 0;
  const std::string_view rest = std::string_view(text).substr(at);
  if (is_one_of(rest, {".inf", ".Inf", ".INF"}) || is_one_of(text, {".nan", ".NaN", ".NAN"})) {
    return true;
  }
  const auto all_of = [](std::string_view digits, auto&& allowed) {
    return !digits.empty() && std::all_of(digits.begin(), digits.end(), allowed);
  };
  const auto decimal = [](unsigned char c) { return std::isdigit(c) != 0; };
  if (rest.starts_with("0x") || rest.starts_with("0X")) {
    return all_of(rest.substr(2), [](unsigned char c) { return std::isxdigit(c) != 0; });
  }
  if (rest.starts_with("0b") || rest.starts_with("0B")) {
    return all_of(rest.substr(2), [](unsigned char c) { return c == '0' || c == '1'; });
  }
  if (rest.starts_with("0o") || rest.starts_with("0O")) {
    return all_of(rest.substr(2), [](unsigned char c) { return c >= '0' && c <= '7'; });
  }
  // [0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)? with a digit before the exponent
  std::size_t i = 0;
  bool digits = false;
  while (i < rest.size() && decimal(static_cast<unsigned char>(rest[i]))) {
    digits = true;
    ++i;
  }
  if (i < rest.size() && rest[i] == '.') {
    ++i;
    while (i < rest.size() && decimal(static_cast<unsigned char>(rest[i]))) {
      digits = true;
      ++i;
    }
  }
  if (!digits) {
    return false;
  }
  if (i == rest.size()) {
    return true;
  }
  if (rest[i] != 'e' && rest[i] != 'E') {
    return false;
  }
  ++i;
  if (i < rest.size() && (rest[i] == '-' || rest[i] == '+')) {
    ++i;
  }
  return all_of(rest.substr(std::min(i, rest.size())), decimal);
}

bool YamlNode::is_string() const {
  return kind == Kind::kScalar && (!plain || (!is_boolean() && !is_number()));
}

const char* YamlNode::description() const {
  switch (kind) {
  case Kind::kNull:
    return "nothing";
  case Kind::kSequence:
    return "a list";
  case Kind::kMap:
    return "a map";
  case Kind::kScalar:
    return is_boolean() ? "a boolean" : is_number() ? "a number" : "a text";
  }
  return "nothing";
}

std::vector<YamlDocument> read_yaml(std::string_view file, std::string_view text) {
  std::vector<YamlDocument> documents;
  const auto refuse = [&](int line, std::string message, std::string hint, std::string code) {
    YamlDocument broken;
    broken.line = line;
    broken.diagnostics.push_back({Severity::kError,
                                  {std::string(file), line, line == 0 ? 0 : 1},
                                  std::move(message),
                                  std::move(hint),
                                  std::move(code)});
    documents.push_back(std::move(broken));
  };
  if (text.size() > kMaxFileBytes) {
    refuse(0, "file is larger than 10 MiB", "split it", "too-large");
    return documents;
  }
  if (const auto zero = text.find('\0'); zero != std::string_view::npos) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<long>(zero), '\n');
    refuse(static_cast<int>(line), "a NUL byte", "this is not a text file", "yaml-syntax");
    return documents;
  }
  const std::vector<Part> parts = parts_of(text);
  if (parts.size() > kMaxDocuments) {
    refuse(parts[kMaxDocuments].lines_before + 1,
           "more than " + std::to_string(kMaxDocuments) + " documents in one file", "split it",
           "too-large");
    return documents;
  }
  for (const Part& part : parts) {
    read_part(file, part, documents);
  }
  return documents;
}

} // namespace weir::policy
