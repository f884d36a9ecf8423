// Amounts are read from text exactly or not at all, and mean the same once written.
#include "lumen_core/money.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    const std::string_view text = fuzz::text_of(data, size);
    if (const auto coins = parse_coins(text)) {
        fuzz::require(*coins <= kMaxAmount && NanoCoins(-coins->nano()) <= kMaxAmount, "no amount beyond M");
        fuzz::require(parse_coins(format_coins(*coins)) == coins, "the shortest text means the same");
        fuzz::require(parse_coins(format_coins_fixed(*coins)) == coins, "the long text means the same");
    }
    if (const auto nano = parse_nano(text)) {
        fuzz::require(std::to_string(nano->nano()) == text, "each number has one text");
    }
    return 0;
}
