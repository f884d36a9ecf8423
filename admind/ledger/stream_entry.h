// One entry of a bucket's event stream, as XRANGE gives it.
#pragma once

#include <cstdint>
#include <string>

#include "admind/stores/redis_link.h"
#include "lumen_core/account_bucket.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

/// `bseq-0`.
std::string stream_id(std::int64_t bseq);

struct StreamEntry {
    std::int64_t bseq = 0;
    LedgerEvent event;  ///< its texts live in the reply
};
/// Throws LedgerAlarm if it is not an event of ours.
StreamEntry entry_of(Bucket bucket, const redisReply& entry);

}  // namespace lumen::admind
