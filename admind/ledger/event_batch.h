// Events of one drain as what the book needs of them: COPY lines, and sums per account, key and quarter of an hour.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "lumen_core/account_bucket.h"
#include "lumen_core/ids.h"
#include "lumen_core/ledger_protocol.h"

namespace lumen::admind {

/// The stream and the book disagree. Nothing was written; never repaired silently, an operator must look.
struct LedgerAlarm : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// What a correction adds to: the reap row of its request, if there is one.
struct ReapedRequest {
    bool found = false;
    std::int64_t cost = 0;
    std::uint64_t tokens_in = 0;
    std::uint64_t tokens_out = 0;
};
using ReapedRequests = std::unordered_map<std::string, ReapedRequest>;

struct AccountSums {
    std::int64_t first_seq = 0;
    std::int64_t last_seq = 0;
    std::int64_t delta = 0;
    std::int64_t balance = 0;  ///< after the last event
    std::int64_t highest = 0;  ///< balance there was, before the first event or after any of them
    std::int64_t opn = 0;
    std::int64_t last_refill_hour = 0;
    std::int64_t cost = 0;
    std::int64_t requests = 0;
    std::int64_t tokens_in = 0;
    std::int64_t tokens_out = 0;
    std::int64_t last_used_ms = 0;
};

struct UsageSums {
    std::int64_t requests = 0;
    std::int64_t tokens_in = 0;
    std::int64_t tokens_out = 0;
    std::int64_t cost = 0;
    std::int64_t last_ms = 0;
};
struct KeySums {
    AccountId account = 0;
    UsageSums usage;
};
using QuarterKey = std::tuple<AccountId, std::int64_t, KeyId, ModelId, EndpointId>;  ///< second: slot, Unix seconds

struct LateEvent {
    AccountId account = 0;
    KeyId key = 0;
    std::string request_id;
    std::int64_t cost = 0;
    std::string blob;
};

/// Columns of ledger_events that a batch fills.
inline constexpr std::array<const char*, 24> kEventColumns = {"at",
                                                              "bseq",
                                                              "account_id",
                                                              "key_id",
                                                              "delta",
                                                              "cost",
                                                              "balance_after",
                                                              "seq",
                                                              "request_id",
                                                              "opn",
                                                              "model_id",
                                                              "endpoint_id",
                                                              "price_id",
                                                              "tokens_in",
                                                              "tokens_out",
                                                              "tokens_cached",
                                                              "tokens_reasoning",
                                                              "audio_ms",
                                                              "duration_ms",
                                                              "ttft_ms",
                                                              "bucket",
                                                              "kind",
                                                              "usage_source",
                                                              "status"};

class EventBatch {
 public:
    /// Reap rows that the book has for corrections that come; reaps of the batch itself are known.
    void know_reaped(const ReapedRequests& reaped) { reaped_.insert(reaped.begin(), reaped.end()); }

    /// Takes the next event of `bucket`. Throws LedgerAlarm if it does not follow the account's one before.
    void add(Bucket bucket, std::int64_t bseq, const LedgerEvent& event);

    std::size_t size() const noexcept { return size_; }
    std::int64_t oldest_at_ms() const noexcept { return oldest_at_ms_; }  ///< 0 while it is empty
    /// The fields of one event as text, null where it has none, in the order of kEventColumns.
    using Row = std::array<const char*, kEventColumns.size()>;
    /// Rows of the events added since they were last forgotten.
    std::size_t rows() const noexcept { return offsets_.size() / kEventColumns.size(); }
    Row row(std::size_t index) const noexcept;
    void forget_rows() noexcept;

    /// Accounts with money events; one with nothing but lates is not among them.
    const std::map<AccountId, AccountSums>& accounts() const noexcept { return accounts_; }
    const std::map<KeyId, KeySums>& keys() const noexcept { return keys_; }
    const std::map<QuarterKey, UsageSums>& quarters() const noexcept { return quarters_; }
    const std::vector<LateEvent>& lates() const noexcept { return lates_; }

 private:
    void count_money(const LedgerEvent& event);
    void count_usage(const LedgerEvent& event, const UsageRecord& record, std::int64_t requests);
    void append_row(Bucket bucket, std::int64_t bseq, const LedgerEvent& event, const UsageRecord* record);
    void field(std::int64_t value);
    void optional_field(std::int64_t value);
    void text_field(std::string_view text);
    void null_field();

    ReapedRequests reaped_;
    std::size_t size_ = 0;
    std::int64_t oldest_at_ms_ = 0;
    std::string text_;                   ///< fields, each with a final zero byte
    std::vector<std::int64_t> offsets_;  ///< of the fields in text_, row by row; kNull: none
    std::map<AccountId, AccountSums> accounts_;
    std::map<KeyId, KeySums> keys_;
    std::map<QuarterKey, UsageSums> quarters_;
    std::vector<LateEvent> lates_;
};

/// "2026-01-31 09:11:05.123+00".
void append_timestamp(std::string& out, std::int64_t unix_ms);

}  // namespace lumen::admind
