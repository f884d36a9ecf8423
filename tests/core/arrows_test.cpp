// The arrows of docs/architecture.md: ngx_lumen_module → lumen_core ← admind, and a core that is pure.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace lumen {
namespace {

namespace fs = std::filesystem;

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
}

std::string read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    EXPECT_TRUE(file) << path;
    return {std::istreambuf_iterator<char>(file), {}};
}

/// The sources of a room, with the files of its subdirectories.
std::vector<fs::path> sources_of(const char* room) {
    std::vector<fs::path> sources;
    const fs::path top = fs::path{LUMEN_SOURCE_DIR} / room;
    for (auto entry = fs::recursive_directory_iterator{top}; entry != fs::recursive_directory_iterator{}; ++entry) {
        if (entry->is_directory() && entry->path().filename() == "node_modules") {
            entry.disable_recursion_pending();
            continue;
        }
        const std::string extension = entry->path().extension().string();
        if (extension == ".cpp" || extension == ".h" || extension == ".c") sources.push_back(entry->path());
    }
    return sources;
}

/// The code with comments and the contents of literals taken out, so that words in them do not count. Raw strings are
/// taken for plain ones: at worst a part of one is read as code.
std::string code_only(std::string_view text) {
    std::string code;
    const auto drop = [&text](std::string_view until) {
        const std::size_t end = text.find(until);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + until.size());
    };
    while (!text.empty()) {
        const char c = text.front();
        const bool digit_separator =
            c == '\'' && !code.empty() && std::isdigit(static_cast<unsigned char>(code.back())) != 0;
        if (starts_with(text, "//")) {
            drop("\n");
            code += '\n';
        } else if (starts_with(text, "/*")) {
            text.remove_prefix(2);
            drop("*/");
            code += ' ';
        } else if ((c == '"' || c == '\'') && !digit_separator) {
            text.remove_prefix(1);
            while (!text.empty() && text.front() != c)
                text.remove_prefix(text.front() == '\\' && text.size() > 1 ? 2 : 1);
            if (!text.empty()) text.remove_prefix(1);
            code += "\"\"";
        } else {
            code += c;
            text.remove_prefix(1);
        }
    }
    return code;
}

/// What a file includes, as written between the quotes or brackets.
std::vector<std::string> includes_of(const std::string& text) {
    std::vector<std::string> includes;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);) {
        std::istringstream words{line};
        std::string hash;
        std::string word;
        words >> hash;
        if (hash == "#") {
            words >> word;
            hash += word;
        }
        if (!starts_with(hash, "#include")) continue;
        const std::size_t open = line.find_first_of("<\"");
        const std::size_t close = line.find_first_of(">\"", open + 1);
        if (open != std::string::npos && close != std::string::npos)
            includes.push_back(line.substr(open + 1, close - open - 1));
    }
    return includes;
}

/// The includes of `text` that begin with one of `forbidden`.
std::vector<std::string> forbidden_includes(const std::string& text, const std::vector<std::string_view>& forbidden) {
    std::vector<std::string> found;
    for (const std::string& include : includes_of(text)) {
        for (const std::string_view prefix : forbidden) {
            if (starts_with(include, prefix)) found.push_back(include);
        }
    }
    return found;
}

/// Surroundings that the core gets as arguments, if at all: environment, clocks, randomness, files, output.
std::vector<std::string> impure_words(const std::string& text) {
    static const std::set<std::string_view> kImpure{
        "getenv",    "setenv",        "system_clock", "steady_clock",  "high_resolution_clock",
        "localtime", "clock_gettime", "gettimeofday", "random_device", "RAND_bytes",
        "ifstream",  "ofstream",      "fstream",      "fopen",         "cout",
        "cerr",      "clog",          "printf",       "fprintf",       "puts"};
    static const std::set<std::string_view> kImpureCalls{"time", "clock", "rand",
                                                         "srand"};  // names of other things too
    const auto in_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };

    const std::string code = code_only(text);
    std::vector<std::string> found;
    for (auto begin = code.begin(); begin != code.end();) {
        const auto end = std::find_if_not(begin, code.end(), in_word);
        if (begin == end) {
            ++begin;
            continue;
        }
        const std::string word{begin, end};
        const bool called = end != code.end() && *end == '(';
        if (kImpure.count(word) > 0 || (called && kImpureCalls.count(word) > 0)) found.push_back(word);
        begin = end;
    }
    return found;
}

const std::vector<std::string_view> kOutsideTheCore{"ngx_lumen_module/",
                                                    "admind/",
                                                    "tests/",
                                                    "ngx_",
                                                    "nginx",
                                                    "hiredis",
                                                    "Poco/",
                                                    "pqxx",
                                                    "libpq",
                                                    "curl/",
                                                    "iostream",
                                                    "fstream",
                                                    "ostream",
                                                    "istream",
                                                    "filesystem",
                                                    "unistd.",
                                                    "sys/",
                                                    "ctime",
                                                    "time.h",
                                                    "random",
                                                    "thread",
                                                    "fcntl",
                                                    "poll",
                                                    "netdb",
                                                    "netinet/",
                                                    "openssl/rand"};

TEST(arrows, lumen_core_knows_neither_nginx_nor_redis_nor_postgres_nor_poco) {
    const std::vector<fs::path> sources = sources_of("lumen_core");
    ASSERT_GT(sources.size(), 10U);
    for (const fs::path& path : sources) {
        EXPECT_EQ(forbidden_includes(read_file(path), kOutsideTheCore), std::vector<std::string>{}) << path;
    }
}

TEST(arrows, lumen_core_reads_no_clock_no_environment_and_no_files) {
    for (const fs::path& path : sources_of("lumen_core")) {
        EXPECT_EQ(impure_words(read_file(path)), std::vector<std::string>{}) << path;
    }
}

TEST(arrows, the_gate_does_not_know_admind) {
    const std::vector<fs::path> sources = sources_of("ngx_lumen_module");
    ASSERT_GT(sources.size(), 5U);
    for (const fs::path& path : sources) {
        EXPECT_EQ(forbidden_includes(read_file(path), {"admind/", "Poco/", "pqxx", "libpq"}),
                  std::vector<std::string>{})
            << path;
    }
}

TEST(arrows, admind_does_not_know_the_gate) {
    const std::vector<fs::path> sources = sources_of("admind");
    ASSERT_GT(sources.size(), 5U);
    for (const fs::path& path : sources) {
        EXPECT_EQ(forbidden_includes(read_file(path), {"ngx_lumen_module/", "ngx_", "nginx"}),
                  std::vector<std::string>{})
            << path;
    }
}

/// admind's rooms from the ground up: each knows itself and those before it.
const std::vector<std::string> kRooms{"text", "stores", "settings", "ledger", "catalogue", "people", "rest", "ncsa"};
/// What request handlers are handed is made of everything up to the catalogue, and known from here up.
constexpr std::string_view kFirstWithServices = "people";

TEST(arrows, each_room_of_admind_knows_only_those_below_it) {
    std::vector<std::string_view> above{"admind/main", "admind/commands", "admind/daemon", "admind/doctor"};
    std::vector<std::string> folders;
    for (const std::string& room : kRooms) folders.push_back("admind/" + room + "/");
    for (std::size_t i = 0; i < kRooms.size(); ++i) {
        std::vector<std::string_view> forbidden = above;
        forbidden.insert(forbidden.end(), folders.begin() + static_cast<std::ptrdiff_t>(i) + 1, folders.end());
        const auto with_services = std::find(kRooms.begin(), kRooms.end(), kFirstWithServices);
        if (kRooms.begin() + static_cast<std::ptrdiff_t>(i) < with_services) forbidden.push_back("admind/services");
        const std::vector<fs::path> sources = sources_of(("admind/" + kRooms[i]).c_str());
        ASSERT_GT(sources.size(), 3U) << kRooms[i];
        for (const fs::path& path : sources) {
            EXPECT_EQ(forbidden_includes(read_file(path), forbidden), std::vector<std::string>{}) << path;
        }
    }
}

TEST(arrows, every_unit_of_admind_but_its_top_stands_in_a_room) {
    const std::set<std::string> top{"main", "commands", "daemon", "doctor", "services", "bounds"};
    for (const auto& entry : fs::directory_iterator{fs::path{LUMEN_SOURCE_DIR} / "admind"}) {
        const std::string extension = entry.path().extension().string();
        if (extension != ".cpp" && extension != ".h") continue;
        EXPECT_EQ(top.count(entry.path().stem().string()), 1U) << entry.path();
    }
}

TEST(arrows, includes_of_the_project_are_written_from_the_root) {
    for (const char* room : {"lumen_core", "ngx_lumen_module", "admind"}) {
        for (const fs::path& path : sources_of(room)) {
            for (const std::string& include : includes_of(read_file(path))) {
                EXPECT_EQ(include.find("../"), std::string::npos) << path << " includes " << include;
            }
        }
    }
}

TEST(arrows, the_check_sees_what_it_forbids) {
    for (const char* line :
         {"#include <ngx_core.h>", "#include <hiredis/async.h>", "  #  include \"admind/text/json.h\"",
          "#include <Poco/Logger.h>", "#include <pqxx/pqxx>", "int a;\n#include <iostream>\nint b;"}) {
        EXPECT_EQ(forbidden_includes(line, kOutsideTheCore).size(), 1U) << line;
    }
    for (const char* line : {"auto t = std::chrono::steady_clock::now();", "std::getenv(\"HOME\")", "time(nullptr)",
                             "std::time(&now)", "std::cerr << 1;", "std::ofstream f;", "RAND_bytes(p, 1);",
                             "std::printf(\"x\");", "std::random_device device;"}) {
        EXPECT_EQ(impure_words(line).size(), 1U) << line;
    }
    for (const char* line :
         {"// std::cout", "/* getenv\n*/", "const char* s = \"time(0)\";", "first_byte_time(0)",
          "std::chrono::milliseconds wait;", "clock_skew_ms", "\"// \" + x", "'\"' + y", "1'000 + x", "lifetime(0)"}) {
        EXPECT_TRUE(impure_words(line).empty()) << line;
    }
    EXPECT_EQ(impure_words("char c = '\"'; getenv(x); c = '\"';").size(), 1U);
    EXPECT_TRUE(forbidden_includes("// #include <iostream>\n#include <simdjson.h>", kOutsideTheCore).empty());
}

}  // namespace
}  // namespace lumen
