// Reads an event of a stream of pictures (OpenAI's image_generation.*) while it passes: it is as long as the picture
// that it carries, and its usage stands behind that.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lumen_core/json_meter.h"
#include "lumen_core/usage.h"

namespace lumen {

/// By the type of an event: it carries a picture; and that one is finished.
bool is_picture_event(std::string_view type) noexcept;
bool is_finished_picture(std::string_view type) noexcept;

/// One event, in pieces of any size: what it tells does not depend on where they were cut.
class PictureEvent {
 public:
    void feed(std::string_view bytes);

    bool finished() const noexcept;
    /// Of a finished picture, if it says so.
    std::optional<SaidUsage> usage() const noexcept;

 private:
    enum class At : std::uint8_t { field, value_begin, data, name, other };
    void begin_value() noexcept;
    void end_line();

    JsonMeter json_{Operation::images_generations};
    At at_ = At::field;
    std::string field_;  ///< of this line, as far as it has come
    std::string name_;   ///< value of the field `event`
    bool any_data_ = false;
};

}  // namespace lumen
