// Facts of a multipart/form-data body (speech to text): its model, wherever the field stands, and how much sound there
// is. The body lies in one piece, in memory or mapped from its file, and is read a slice at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lumen_core/request_facts.h"

namespace lumen {

/// A longer form is refused (413 by the gate before it gets here).
inline constexpr std::size_t kMaxFormBytes = std::size_t{512} * 1024 * 1024;
inline constexpr std::size_t kMaxFormParts = 128;
inline constexpr std::size_t kMaxPartHeaderBytes = std::size_t{8} * 1024;

/// The boundary that a Content-Type of multipart/form-data names; empty: it is another type, or not well-formed.
std::string form_boundary(std::string_view content_type);

/// Reads one form. Refused is what a model server might read otherwise than we: a second `model`, a name in other case
/// or in an encoded form, text outside the parts, line ends that are not CRLF, a boundary that goes on as a longer
/// word, parts that are forms or encoded themselves.
class FormReader {
 public:
    /// `body` must live as long as the reader; `boundary` is of form_boundary().
    FormReader(std::string_view body, std::string_view boundary);

    /// Looks at some `bytes` more; true once there is nothing left to read, or something is wrong.
    bool read(std::size_t bytes);
    /// After read() said true.
    FactsResult result() &&;

 private:
    enum class State : std::uint8_t { at_first_boundary, in_header, in_content, done };
    struct Part {
        std::string name;
        bool is_file = false;
        std::size_t content = 0;  ///< offset in the body
    };

    void read_first_boundary();
    void read_header();
    void read_header_line(std::string_view line, bool& has_disposition);
    void read_disposition(std::string_view value);
    bool read_content(std::size_t& bytes);
    void after_boundary();
    void take_part(std::string_view content);
    void take_model(std::string_view content);
    void take_file(std::string_view content);
    void finish();
    void refuse(std::string message);
    void refuse_field(std::string_view name, std::string_view rule);

    std::string_view body_;
    std::string delimiter_;  ///< CRLF, two dashes and the boundary
    State state_ = State::at_first_boundary;
    std::size_t at_ = 0;
    std::size_t parts_ = 0;
    Part part_;
    std::array<bool, 4> seen_{};  ///< by the place in kFields
    RequestFacts facts_;
    BadRequest error_;
    bool refused_ = false;
};

/// Length in ms of a WAV file that holds plain PCM, rounded up; nullopt: something else, which only decoding would
/// tell.
std::optional<std::uint64_t> pcm_length_ms(std::string_view file) noexcept;

}  // namespace lumen
