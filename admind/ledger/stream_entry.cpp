#include "admind/ledger/stream_entry.h"

#include <charconv>

#include "admind/ledger/event_batch.h"

namespace lumen::admind {

namespace {

/// The `bseq` of an id `bseq-0`; -1 for anything else.
std::int64_t bseq_of(std::string_view id) {
    std::int64_t bseq = -1;
    const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), bseq);
    const std::string_view rest(end, static_cast<std::size_t>(id.data() + id.size() - end));
    return error == std::errc() && rest == "-0" ? bseq : -1;
}

}  // namespace

std::string stream_id(std::int64_t bseq) {
    return std::to_string(bseq) + "-0";
}

StreamEntry entry_of(Bucket bucket, const redisReply& entry) {
    if (entry.type != REDIS_REPLY_ARRAY || entry.elements != 2) throw LedgerAlarm("malformed stream entry");
    const std::int64_t bseq = bseq_of(reply_text(entry.element[0]));
    const redisReply& fields = *entry.element[1];
    const auto event = fields.elements == 2 ? parse_event(reply_text(fields.element[1])) : std::nullopt;
    if (bseq < 0 || !event) {
        throw LedgerAlarm("unreadable event: bucket=" + std::to_string(bucket) +
                          " id=" + std::string(reply_text(entry.element[0])));
    }
    return {bseq, *event};
}

}  // namespace lumen::admind
