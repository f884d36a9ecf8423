// Events, holds and usage records are read or refused; a record that was read is written as it was understood.
#include "lumen_core/ledger_protocol.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    const std::string_view text = fuzz::text_of(data, size);
    if (const auto event = parse_event(text)) {
        fuzz::require(event->request.size() <= text.size() && event->blob.size() <= text.size(),
                      "fields lie in the event");
    }
    if (const auto hold = parse_hold(text)) fuzz::require(hold->blob.size() <= text.size(), "fields lie in the hold");
    if (const auto record = decode_usage_record(text)) {
        const Blob blob = encode_usage_record(*record);
        fuzz::require(blob.length <= kMaxBlobBytes, "a record fits its blob");
        const auto again = decode_usage_record(blob.view());
        fuzz::require(again.has_value(), "a record that was written is read");
        const Blob second = encode_usage_record(*again);
        fuzz::require(second.view() == blob.view(), "a record means the same after each journey");
    }
    return 0;
}
