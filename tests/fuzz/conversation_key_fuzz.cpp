// Any body has a conversation or none, and the same one however often it is asked.
#include "lumen_core/conversation_key.h"

#include "lumen_core/request_facts.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    static ConversationKeyReader reader;
    const fuzz::Padded body(fuzz::text_of(data, size), kJsonPadding);
    const auto key = reader.read(body.text());
    fuzz::require(reader.read(body.text()) == key, "the same again");
    return 0;
}
