// Which conversation a request belongs to, for endpoints that have its beginning in their KV cache (`prefix_affinity`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace lumen {

/// Of each message at most this much is looked at (and its length): pictures are long, and their beginnings tell.
inline constexpr std::size_t kKeyBytesPerMessage = 4096;
/// Messages before the first of the user; real conversations have one or two.
inline constexpr std::size_t kMostKeyMessages = 16;

/// Reads keys, one body after the other, in memory that it keeps: a worker owns one.
class ConversationKeyReader {
 public:
    ConversationKeyReader();
    ~ConversationKeyReader();
    ConversationKeyReader(ConversationKeyReader&&) noexcept;
    ConversationKeyReader& operator=(ConversationKeyReader&&) noexcept;

    /// The same for every turn of a conversation, as clients send what was said before with each: a hash of what comes
    /// before and with the first message of the user (`messages`, or an `input` of messages), or of the beginning of a
    /// `prompt` or `input` of text. nullopt: the body has none of these.
    /// `body` is one that FactsReader accepted, followed by kJsonPadding readable bytes.
    std::optional<std::uint64_t> read(std::string_view body);

 private:
    struct Parser;
    std::unique_ptr<Parser> parser_;
};

}  // namespace lumen
