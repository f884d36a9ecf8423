// Streams of pictures: events as long as the pictures in them, and the usage behind the last one.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "lumen_core/sse.h"

namespace lumen {
namespace {

constexpr std::size_t kLong = 3 * StreamMeter::kMaxEventBytes;

struct Told {
    std::string output;
    bool begun = false;
    bool finished = false;
    bool done = false;
    bool error = false;
    std::uint64_t input = 0;
    std::uint64_t output_tokens = 0;
    std::uint64_t text = 0;
    UsageSource source = UsageSource::none;
};

/// The stream in pieces of random size.
Told told(const std::string& stream, std::uint32_t seed, std::size_t most) {
    std::mt19937 random(seed);
    StreamMeter meter(Operation::images_generations, false);
    StreamOutput out;
    Told result;
    const auto take = [&] {
        for (const auto piece : out.pieces) result.output += piece;
    };
    for (std::size_t at = 0; at < stream.size();) {
        const std::size_t bytes = std::min<std::size_t>(1 + random() % most, stream.size() - at);
        const std::string gone_after_the_call = stream.substr(at, bytes);
        meter.feed(gone_after_the_call, out);
        take();
        at += bytes;
    }
    meter.finish(out);
    take();
    result.begun = meter.picture_begun();
    result.finished = meter.picture_finished();
    result.done = meter.done_seen();
    result.error = meter.error_seen();
    result.input = meter.usage().input_tokens;
    result.output_tokens = meter.usage().output_tokens;
    result.text = meter.output_text_bytes();
    result.source = meter.usage_source();
    return result;
}

std::string partial(std::size_t bytes) {
    return "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"" +
           std::string(bytes, 'A') + "\",\"partial_image_index\":0}\n\n";
}

std::string data_of_completed(std::size_t bytes, const std::string& more) {
    return "data: {\"type\":\"image_generation.completed\",\"b64_json\":\"" + std::string(bytes, 'A') + "\"" + more +
           "}\n\n";
}

const std::string kUsage =
    R"(,"usage":{"input_tokens":5,"output_tokens":1056,"total_tokens":1061,"input_tokens_details":{"text_tokens":5}})";

struct PictureCase {
    const char* name;
    std::string stream;
    bool begun;
    bool finished;
    std::uint64_t output_tokens;
};
void PrintTo(const PictureCase& test, std::ostream* out) {
    *out << test.name;
}

const std::string kCompleted = "event: image_generation.completed\n";
const std::vector<PictureCase> kCases = {
    {"nothing", "", false, false, 0},
    {"a_small_one", partial(90) + kCompleted + data_of_completed(90, kUsage), true, true, 1056},
    {"a_long_one", partial(kLong) + kCompleted + data_of_completed(kLong, kUsage), true, true, 1056},
    {"without_usage", kCompleted + data_of_completed(kLong, ""), true, true, 0},
    {"told_by_its_type_alone", data_of_completed(kLong, kUsage), true, true, 1056},
    {"a_small_one_told_by_its_type_alone", data_of_completed(9, kUsage), true, true, 1056},
    {"told_by_its_name_alone",
     kCompleted + "data: {\"b64_json\":\"" + std::string(kLong, 'A') + "\"" + kUsage + "}\n\n", true, true, 1056},
    {"over_several_lines",
     kCompleted + "data: {\"b64_json\":\"" + std::string(kLong, 'A') + "\",\ndata:\"x\":1\ndata: " + kUsage + "}\n\n",
     true, true, 1056},
    {"broken_off_before_its_end", kCompleted + data_of_completed(kLong, kUsage).substr(0, kLong + 90), true, false, 0},
    {"not_finished", partial(kLong) + partial(90), true, false, 0},
    {"usage_of_something_else", kCompleted + data_of_completed(kLong, R"(,"x":{"usage":{"output_tokens":9}})"), true,
     true, 0},
};

class PictureStreams : public testing::TestWithParam<PictureCase> {};

TEST_P(PictureStreams, pass_unchanged_and_tell_the_same_wherever_they_are_cut) {
    const PictureCase& test = GetParam();
    for (const std::size_t most : {std::size_t{16} << 20, std::size_t{300'000}, std::size_t{4096}, std::size_t{7}}) {
        const Told seen = told(test.stream, 7, most);
        ASSERT_EQ(seen.output, test.stream) << most;
        EXPECT_EQ(seen.begun, test.begun) << most;
        EXPECT_EQ(seen.finished, test.finished) << most;
        EXPECT_EQ(seen.done, test.finished) << most;
        EXPECT_EQ(seen.output_tokens, test.output_tokens) << most;
        EXPECT_EQ(seen.source, test.output_tokens > 0 ? UsageSource::final : UsageSource::none) << most;
        EXPECT_EQ(seen.text, 0U) << "a picture is no text";
    }
}

INSTANTIATE_TEST_SUITE_P(Cases, PictureStreams, testing::ValuesIn(kCases),
                         [](const auto& test) { return test.param.name; });

TEST(picture_stream, an_error_in_it_is_one) {
    const Told seen =
        told(partial(90) + "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"no\"}}\n\n", 7, 64);
    EXPECT_TRUE(seen.error);
    EXPECT_FALSE(seen.finished);
}

}  // namespace
}  // namespace lumen
