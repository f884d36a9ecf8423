// The arrows of docs/architecture.md: ngx_lumen_module → lumen_core ← admind, and a core that is pure.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

namespace lumen {
namespace {

namespace fs = std::filesystem;

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
/// taken for plain ones: at worst a line of one is read as code.
std::string code_only(const std::string& text) {
    static const std::regex kNotCode{
        R"re(//[^\n]*|/\*[^*]*\*+(?:[^/*][^*]*\*+)*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+')re"};
    return std::regex_replace(text, kNotCode, " ");
}

/// What a file includes, as written between the quotes or brackets.
std::vector<std::string> includes_of(const std::string& text) {
    static const std::regex kInclude{R"re(^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"])re", std::regex::multiline};
    std::vector<std::string> includes;
    for (std::sregex_iterator match{text.begin(), text.end(), kInclude}; match != std::sregex_iterator{}; ++match) {
        includes.push_back((*match)[1]);
    }
    return includes;
}

bool starts_with(std::string_view text, std::string_view prefix) {
    return text.substr(0, prefix.size()) == prefix;
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
    static const std::regex kImpure{
        R"re(\b(getenv|setenv|system_clock|steady_clock|high_resolution_clock|clock_gettime|gettimeofday|localtime(_r)?|random_device|RAND_\w+|s?rand|fopen|cout|cerr|clog|f?printf|puts)\b|\b(std::|::)?(time|clock)\((nullptr|NULL|0|&\w+)?\)|\b(i|o)?fstream\b)re"};
    const std::string code = code_only(text);
    std::vector<std::string> found;
    for (std::sregex_iterator match{code.begin(), code.end(), kImpure}; match != std::sregex_iterator{}; ++match) {
        found.push_back(match->str());
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
         {"#include <ngx_core.h>", "#include <hiredis/async.h>", "  #  include \"admind/json.h\"",
          "#include <Poco/Logger.h>", "#include <pqxx/pqxx>", "int a;\n#include <iostream>\nint b;"}) {
        EXPECT_EQ(forbidden_includes(line, kOutsideTheCore).size(), 1U) << line;
    }
    for (const char* line : {"auto t = std::chrono::steady_clock::now();", "std::getenv(\"HOME\")", "time(nullptr)",
                             "std::time(&now)", "std::cerr << 1;", "std::ofstream f;", "RAND_bytes(p, 1);",
                             "std::printf(\"x\");", "std::random_device device;"}) {
        EXPECT_EQ(impure_words(line).size(), 1U) << line;
    }
    for (const char* line : {"// std::cout", "/* getenv\n*/", "const char* s = \"time(0)\";", "first_byte_time(0)",
                             "std::chrono::milliseconds wait;", "clock_skew_ms", "\"// \" + x", "'\"' + y"}) {
        EXPECT_TRUE(impure_words(line).empty()) << line;
    }
    EXPECT_EQ(impure_words("char c = '\"'; getenv(x); c = '\"';").size(), 1U);
    EXPECT_TRUE(forbidden_includes("// #include <iostream>\n#include <simdjson.h>", kOutsideTheCore).empty());
}

}  // namespace
}  // namespace lumen
