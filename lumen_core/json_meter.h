// Meters a JSON answer of any size while it passes: its `usage`, and how much text was generated, without keeping it.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "lumen_core/request_facts.h"

namespace lumen {

/// Follows the structure of one JSON object byte by byte; what it tells does not depend on where the pieces were cut.
/// It does not check values: whole() means that strings and brackets close, as a cut or foreign body's do not.
class JsonMeter {
 public:
    /// A usage object is some hundred bytes; a longer one is not read.
    static constexpr std::size_t kMaxUsageBytes = 16 * 1024;
    static constexpr std::size_t kMaxDepth = 128;
    /// Longer than any name that is looked for; what is beyond is not kept.
    static constexpr std::size_t kMaxKeyBytes = 32;

    explicit JsonMeter(Operation operation) noexcept;

    void feed(std::string_view bytes);

    /// Exactly one object has come, and nothing but white space after it.
    bool whole() const noexcept { return whole_ && !broken_; }
    /// The value of the top-level member `usage`, if it is an object and has come whole; else empty.
    std::string_view usage_object() const noexcept;
    /// Bytes of the strings that hold generated text, as they stand in the JSON (±2 %); 0 for operations without any.
    std::uint64_t output_text_bytes() const noexcept { return output_text_bytes_; }
    /// Of images/generations: objects in the top-level array `data`.
    std::uint64_t images() const noexcept { return images_; }
    /// The top-level member that this operation's answers are asked for, as it stands there, without quotes: `duration`
    /// of speech to text (verbose_json), `type` of the events of a picture.
    std::string_view named() const noexcept { return named_; }

 private:
    const char* take_outside(const char* at, const char* end);
    const char* begin_string(const char* at, const char* end);
    const char* go_on_in_string(const char* at, const char* end);
    void take_in_string(std::string_view run);
    const char* take_plain(const char* at, const char* end);
    void take_colon();
    void take_comma() noexcept;
    void open(char bracket);
    void close(char bracket);
    /// The last member name.
    std::string_view key() const noexcept { return {key_at_ != nullptr ? key_at_ : kept_key_.data(), key_bytes_}; }
    bool key_names_text() const noexcept;
    void keep_key() noexcept;

    bool counts_text_;
    bool counts_images_;
    std::string_view wanted_;  ///< name of the member for named()
    bool in_data_ = false;     ///< in the top-level array of that name
    bool in_wanted_ = false;   ///< behind the colon of that member
    bool whole_ = false;
    bool broken_ = false;
    bool in_string_ = false;
    bool escaped_ = false;
    bool string_is_key_ = false;
    bool string_is_text_ = false;
    bool after_colon_ = false;
    bool capturing_ = false;
    std::size_t depth_ = 0;
    std::bitset<kMaxDepth> is_object_;  ///< by depth
    const char* key_at_ = nullptr;      ///< in the piece that is being fed, if that holds all of the last member name
    std::size_t key_bytes_ = 0;
    std::array<char, kMaxKeyBytes> kept_key_;  ///< otherwise: as much of it as came in earlier pieces
    std::string usage_;
    std::string named_;
    std::uint64_t output_text_bytes_ = 0;
    std::uint64_t images_ = 0;
};

}  // namespace lumen
