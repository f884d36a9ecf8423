// What is taken for a traceparent can be put into a header as it is.
#include "lumen_core/trace_context.h"

#include <algorithm>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    const std::string_view text = fuzz::text_of(data, size);
    if (is_traceparent(text)) {
        fuzz::require(text.size() >= 55 && text.size() <= kMaxTraceparentBytes, "bounded");
        fuzz::require(std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; }),
                      "no blanks, no line breaks");
    }
    return 0;
}
