// Addresses and ranges are read exactly or not at all, and a range means the same once written.
#include "lumen_core/address_range.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    const std::string_view text = fuzz::text_of(data, size);
    if (const auto range = parse_address_range(text)) {
        fuzz::require(range->prefix <= 128 && range->contains(range->network), "a range holds its own network");
        const std::string written = address_range_text(*range);
        const auto again = parse_address_range(written);
        fuzz::require(again && again->network == range->network && again->prefix == range->prefix,
                      "a range that was written is read");
        fuzz::require(address_range_text(*again) == written, "each range has one text");
    }
    if (const auto address = parse_address(text)) {
        const auto range = parse_address_range(text);
        fuzz::require(range && range->prefix == 128 && range->contains(*address), "an address is a range of one");
    }
    return 0;
}
