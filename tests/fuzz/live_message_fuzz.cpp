// Messages for open pages are read within their bounds or refused, and mean the same once written again.
#include "lumen_core/live_message.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    const std::string_view text = fuzz::text_of(data, size);
    if (const auto message = parse_live_message(text)) {
        fuzz::require(message->events.size() <= kMaxLiveEvents && text.size() <= kMaxLiveMessageBytes, "bounded");
        for (const LiveEvent& event : message->events) {
            fuzz::require(event.data.find_first_of("\r\n") == std::string::npos, "an event's data is one line");
        }
        const std::string written = live_message_text(*message);
        const auto again = parse_live_message(written);
        fuzz::require(again.has_value() || written.size() > kMaxLiveMessageBytes, "a message that was written is read");
        fuzz::require(!again || live_message_text(*again) == written, "and means the same");
    }
    // Redis keeps balances and holds within M.
    const auto in_bounds = [](NanoCoins amount) {
        return amount <= kMaxAmount && NanoCoins(-kMaxAmount.nano()) <= amount;
    };
    const auto wallet = parse_live_wallet(text);
    if (wallet && in_bounds(wallet->balance) && in_bounds(wallet->held)) {
        const std::string event = balance_event_data(*wallet, std::nullopt, 1'700'000'000'000);
        fuzz::require(event.find_first_of("\r\n") == std::string::npos, "a balance is one line");
    }
    return 0;
}
