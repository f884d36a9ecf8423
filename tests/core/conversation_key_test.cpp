#include "lumen_core/conversation_key.h"

#include <gtest/gtest.h>

#include <string>

#include "lumen_core/request_facts.h"

namespace lumen {
namespace {

std::optional<std::uint64_t> key_of(const std::string& body) {
    std::string padded = body;
    padded.append(kJsonPadding, ' ');
    ConversationKeyReader reader;
    return reader.read(std::string_view(padded).substr(0, body.size()));
}

std::string message(const std::string& role, const std::string& content) {
    return R"({"role":")" + role + R"(","content":")" + content + R"("})";
}

std::string chat(const std::string& messages) {
    return R"({"model":"m","temperature":0.1,"messages":[)" + messages + R"(],"stream":true})";
}

const std::string kSystem = message("system", "You help.");
const std::string kFirst = message("user", "What is a coin?");

TEST(conversation_key, stays_the_same_as_the_conversation_grows) {
    const auto first = key_of(chat(kSystem + "," + kFirst));
    ASSERT_TRUE(first);
    const std::string second =
        kSystem + "," + kFirst + "," + message("assistant", "Money.") + "," + message("user", "Why?");
    EXPECT_EQ(key_of(chat(second)), first);
    EXPECT_EQ(key_of(R"({"messages":[)" + second + R"(],"model":"m","seed":7})"), first) << "the rest does not matter";
}

TEST(conversation_key, differs_where_the_beginning_differs) {
    const auto one = key_of(chat(kSystem + "," + kFirst));
    EXPECT_NE(key_of(chat(kSystem + "," + message("user", "What is a bank?"))), one);
    EXPECT_NE(key_of(chat(message("system", "You hinder.") + "," + kFirst)), one);
    EXPECT_NE(key_of(chat(kFirst)), one);
}

TEST(conversation_key, of_a_long_message_its_beginning_and_length_count) {
    const std::string long_text(kKeyBytesPerMessage + 100, 'a');
    const auto one = key_of(chat(message("user", long_text)));
    EXPECT_NE(key_of(chat(message("user", long_text + "a"))), one);
    EXPECT_NE(key_of(chat(message("user", "b" + long_text.substr(1)))), one);
}

TEST(conversation_key, is_read_from_each_dialect) {
    EXPECT_EQ(key_of(R"({"input":[)" + kFirst + R"(]})"), key_of(chat(kFirst))) << "responses";
    const auto prompt = key_of(R"({"prompt":"Once upon a time"})");
    ASSERT_TRUE(prompt);
    EXPECT_EQ(key_of(R"({"model":"m","input":"Once upon a time"})"), prompt);
    EXPECT_NE(key_of(R"({"prompt":"Never upon a time"})"), prompt);
    const std::string beginning(2000, 'x');
    EXPECT_EQ(key_of(R"({"prompt":")" + beginning + R"("})"), key_of(R"({"prompt":")" + beginning + R"( and more"})"));
}

TEST(conversation_key, is_absent_where_there_is_no_conversation) {
    for (const char* body :
         {R"({"model":"m"})", R"({"input":["a","b"]})", R"({"prompt":[1,2,3]})", R"({"messages":[]})",
          R"({"messages":null})", R"({"messages":{"role":"user"}})", "[]", "", "{"}) {
        EXPECT_FALSE(key_of(body)) << body;
    }
}

TEST(conversation_key, looks_at_a_bounded_number_of_messages) {
    std::string before;
    for (std::size_t i = 0; i < kMostKeyMessages; ++i) before += message("system", "rule") + ",";
    EXPECT_EQ(key_of(chat(before + message("user", "a"))), key_of(chat(before + message("user", "b"))));
}

}  // namespace
}  // namespace lumen
