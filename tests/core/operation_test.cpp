#include "lumen_core/operation.h"

#include <gtest/gtest.h>

namespace lumen {
namespace {

TEST(operation, every_path_of_the_design_is_one) {
    for (const char* path :
         {"chat/completions", "completions", "responses", "messages", "messages/count_tokens", "embeddings", "rerank",
          "score", "moderations", "audio/transcriptions", "audio/translations", "audio/speech", "images/generations"}) {
        const auto operation = operation_of_path(path);
        ASSERT_TRUE(operation) << path;
        EXPECT_EQ(traits_of(*operation).path, path);
        EXPECT_FALSE(operation_name(*operation).empty());
    }
}

TEST(operation, only_counting_tokens_is_free) {
    for (int i = 0; i <= static_cast<int>(Operation::images_generations); ++i) {
        const auto operation = static_cast<Operation>(i);
        EXPECT_EQ(is_free(operation), operation == Operation::count_tokens) << operation_name(operation);
    }
}

TEST(operation, anthropics_words_are_for_its_paths_and_what_is_below) {
    for (const char* path : {"messages", "messages/", "messages/count_tokens", "messages/batches"}) {
        EXPECT_EQ(dialect_of_path(path), Dialect::anthropic) << path;
    }
    for (const char* path : {"", "messagesx", "chat/completions", "responses/messages"}) {
        EXPECT_EQ(dialect_of_path(path), Dialect::openai) << path;
    }
}

}  // namespace
}  // namespace lumen
