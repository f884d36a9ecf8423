// A reply of any script is read or called malformed.
#include "lumen_core/ledger_protocol.h"

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    const std::string_view text = fuzz::text_of(data, size);
    for (int script = 0; script < kScripts; ++script) {
        const LedgerReply reply = parse_reply(static_cast<Script>(script), text);
        fuzz::require(reply.token.empty() || (reply.token.data() >= text.data() &&
                                              reply.token.data() + reply.token.size() <= text.data() + text.size()),
                      "the token lies in the reply");
        fuzz::require(!text.empty() || reply.reply == Reply::malformed, "nothing is no reply");
    }
    return 0;
}
