#include "lumen_core/form_facts.h"

#include <gtest/gtest.h>

#include <ostream>

namespace lumen {
namespace {

constexpr const char* kBoundary = "XyZ";

std::string part(const std::string& disposition, const std::string& content) {
    return "--XyZ\r\nContent-Disposition: form-data; " + disposition + "\r\n\r\n" + content + "\r\n";
}
std::string field(const std::string& name, const std::string& content) {
    return part("name=\"" + name + "\"", content);
}
std::string file(const std::string& content) {
    return part("name=\"file\"; filename=\"a.mp3\"\r\nContent-Type: audio/mpeg", content);
}
const std::string kEnd = "--XyZ--\r\n";

FactsResult read(const std::string& body, std::size_t slice) {
    FormReader reader(body, kBoundary);
    while (!reader.read(slice)) {
    }
    return std::move(reader).result();
}

TEST(form_facts, are_the_same_wherever_the_model_stands_and_however_it_is_sliced) {
    // Nearly a boundary, again and again: where a search that forgets what it saw would go wrong.
    const std::string sound = "\r\n--Xy\r\r\n--XY\r\n--\r\nXyZ--\r\n-" + std::string(500, '\r');
    for (const std::string& body : {field("model", "whisper") + file(sound) + kEnd,
                                    file(sound) + field("language", "en") + field("model", "whisper") + kEnd}) {
        for (std::size_t slice = 1; slice <= body.size() + 1; ++slice) {
            const FactsResult result = read(body, slice);
            ASSERT_TRUE(result.facts) << slice << ": " << result.error.message;
            ASSERT_EQ(result.facts->model, "whisper");
            ASSERT_EQ(body.substr(result.facts->model_value.offset, result.facts->model_value.length), "whisper");
            ASSERT_EQ(result.facts->audio_bytes, sound.size());
            ASSERT_FALSE(result.facts->stream);
        }
    }
}

TEST(form_facts, the_model_is_written_anew_for_the_endpoint) {
    const std::string body = file("sound") + field("model", "ours") + kEnd;
    const FactsResult result = read(body, 100);
    ASSERT_TRUE(result.facts);
    const auto splices = form_splices(*result.facts, "org/\"theirs\"");
    ASSERT_EQ(splices.size(), 1U);
    std::string changed = body;
    changed.replace(splices[0].offset, splices[0].length, splices[0].text);
    EXPECT_EQ(changed, file("sound") + field("model", "org/\"theirs\"") + kEnd);
    EXPECT_TRUE(form_splices(*result.facts, "ours").empty());
}

TEST(form_facts, streams_when_asked) {
    for (const char* on : {"true", "True", "1"}) {
        EXPECT_TRUE(read(field("model", "m") + field("stream", on) + file("s") + kEnd, 50).facts->stream) << on;
    }
    EXPECT_FALSE(read(field("model", "m") + field("stream", "false") + file("s") + kEnd, 50).facts->stream);
}

struct BadForm {
    const char* name;
    std::string body;
    const char* param;
};
void PrintTo(const BadForm& form, std::ostream* out) {
    *out << form.name;
}
class Refused : public testing::TestWithParam<BadForm> {};

TEST_P(Refused, in_whatever_slices) {
    for (const std::size_t slice : {std::size_t{1}, std::size_t{7}, std::size_t{100'000}}) {
        const FactsResult result = read(GetParam().body, slice);
        ASSERT_FALSE(result.facts);
        EXPECT_EQ(result.error.param, GetParam().param);
        EXPECT_FALSE(result.error.message.empty());
    }
}

INSTANTIATE_TEST_SUITE_P(
    form, Refused,
    testing::Values(
        BadForm{"empty", "", ""}, BadForm{"no_parts", kEnd, "model"}, BadForm{"no_model", file("s") + kEnd, "model"},
        BadForm{"no_file", field("model", "m") + kEnd, "file"},
        BadForm{"model_twice", field("model", "a") + file("s") + field("model", "b") + kEnd, "model"},
        BadForm{"model_in_other_case", field("Model", "a") + file("s") + kEnd, "model"},
        BadForm{"model_as_a_file", part("name=\"model\"; filename=\"m\"", "a") + file("s") + kEnd, "model"},
        BadForm{"model_empty", field("model", "") + file("s") + kEnd, "model"},
        BadForm{"model_too_long", field("model", std::string(129, 'm')) + file("s") + kEnd, "model"},
        BadForm{"model_with_a_line_end", field("model", "a\r\nb") + file("s") + kEnd, "model"},
        BadForm{"two_files", field("model", "m") + file("s") + file("t") + kEnd, "file"},
        BadForm{"stream_unclear", field("model", "m") + field("stream", "maybe") + file("s") + kEnd, "stream"},
        BadForm{"part_without_a_name", field("model", "m") + part("filename=\"x\"", "s") + kEnd, ""},
        BadForm{"part_with_two_names", part("name=\"x\"; name=\"model\"", "m") + file("s") + kEnd, ""},
        BadForm{"encoded_name", part("name=\"x\"; name*=utf-8''model", "m") + file("s") + kEnd, ""},
        BadForm{"escaped_name", part("name=\"mod\\el\"", "m") + file("s") + kEnd, ""},
        BadForm{"two_dispositions",
                "--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; "
                "name=\"model\"\r\n\r\nm\r\n" +
                    file("s") + kEnd,
                ""},
        BadForm{"folded_header",
                "--XyZ\r\nContent-Disposition: form-data;\r\n name=\"model\"\r\n\r\nm\r\n" + file("s") + kEnd, ""},
        BadForm{"line_ends_without_cr", "--XyZ\nContent-Disposition: form-data; name=\"model\"\n\nm\n" + kEnd, ""},
        BadForm{"encoded_part", part("name=\"model\"\r\nContent-Transfer-Encoding: base64", "bQ==") + file("s") + kEnd,
                ""},
        BadForm{"form_in_a_form",
                part("name=\"x\"\r\nContent-Type: multipart/mixed; boundary=q", "") + field("model", "m") + kEnd, ""},
        BadForm{"text_before", "hello\r\n" + field("model", "m") + file("s") + kEnd, ""},
        BadForm{"text_behind", field("model", "m") + file("s") + kEnd + "hello", ""},
        BadForm{"longer_boundary", field("model", "m") + "--XyZa\r\n" + kEnd, ""},
        BadForm{"cut_in_a_part",
                field("model", "m") + "--XyZ\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc", ""},
        BadForm{"cut_in_a_header", field("model", "m") + "--XyZ\r\nContent-Dispo", ""},
        BadForm{"cut_before_the_end", field("model", "m") + file("s"), ""}),
    [](const auto& instance) { return std::string{instance.param.name}; });

TEST(form_facts, too_many_parts_are_refused) {
    std::string body;
    for (std::size_t i = 0; i <= kMaxFormParts; ++i) body += field("x" + std::to_string(i), "y");
    EXPECT_FALSE(read(body + field("model", "m") + file("s") + kEnd, 1'000).facts);
}

TEST(form_boundary, is_read_as_it_is_sent) {
    EXPECT_EQ(form_boundary("multipart/form-data; boundary=abc"), "abc");
    EXPECT_EQ(form_boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"a b\""), "a b");
    for (const char* other : {"", "application/json", "multipart/form-data",
                              "multipart/form-data; boundary=", "multipart/mixed; boundary=a",
                              "multipart/form-data; boundary=a; boundary=b", "multipart/form-data boundary=a",
                              "multipart/form-data; boundary=\"a", "multipart/form-data; boundary=a b"}) {
        EXPECT_EQ(form_boundary(other), "") << other;
    }
    EXPECT_EQ(form_boundary("multipart/form-data; boundary=" + std::string(71, 'a')), "");
}

std::string number(std::uint64_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
    return text;
}
std::string wav(std::uint64_t format, std::uint64_t channels, std::uint64_t rate, std::uint64_t bits,
                std::uint64_t said, std::size_t data, const std::string& before = "") {
    return "RIFF" + number(0, 4) + "WAVE" + before + "fmt " + number(16, 4) + number(format, 2) + number(channels, 2) +
           number(rate, 4) + number(1, 4) + number(1, 2) + number(bits, 2) + "data" + number(said, 4) +
           std::string(data, '\x80');
}

TEST(pcm_length, is_what_decoding_would_find) {
    EXPECT_EQ(pcm_length_ms(wav(1, 1, 8'000, 8, 16'000, 16'000)), 2'000U);
    EXPECT_EQ(pcm_length_ms(wav(1, 2, 16'000, 16, 64'000, 64'000)), 1'000U);
    EXPECT_EQ(pcm_length_ms(wav(3, 1, 8'000, 32, 1, 32'001)), 1'001U) << "to the end, whatever length is said";
    EXPECT_EQ(pcm_length_ms(wav(1, 1, 8'000, 8, 0xFFFFFFFF, 8'000, "LIST" + number(3, 4) + "abc" + number(0, 1))),
              1'000U);
    EXPECT_EQ(pcm_length_ms(wav(2, 1, 8'000, 4, 8'000, 8'000)), std::nullopt) << "ADPCM";
    EXPECT_EQ(pcm_length_ms(wav(1, 0, 8'000, 8, 8'000, 8'000)), std::nullopt);
    EXPECT_EQ(pcm_length_ms("ID3 and so on"), std::nullopt);
    const std::string whole = wav(1, 1, 8'000, 8, 100, 100);
    for (std::size_t cut = 0; cut < 44; ++cut) EXPECT_EQ(pcm_length_ms(whole.substr(0, cut)), std::nullopt) << cut;
}

TEST(sound, has_an_estimate_and_a_bound) {
    RequestFacts facts;
    facts.audio_bytes = 80'000;
    EXPECT_EQ(estimated_audio_ms(facts), 10'000U);
    EXPECT_EQ(upper_bound_audio_ms(facts), 160'000U);
    facts.audio_ms = 5'000;
    EXPECT_EQ(estimated_audio_ms(facts), 5'000U);
    EXPECT_EQ(upper_bound_audio_ms(facts), 5'000U);
    EXPECT_EQ(estimated_input_tokens(Operation::audio_transcriptions, facts), 51U);
}

}  // namespace
}  // namespace lumen
