#include "admind/ledger/event_batch.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>

namespace lumen::admind {

namespace {

constexpr std::int64_t kQuarterSeconds = 15 * 60;
constexpr std::int64_t kNull = -1;

void append_padded(std::string& out, std::int64_t value, std::size_t width) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    const auto length = static_cast<std::size_t>(end - digits);
    out.append(length < width ? width - length : 0, '0');
    out.append(digits, length);
}

std::int64_t count_of(std::uint64_t tokens) {
    return static_cast<std::int64_t>(tokens);
}

[[noreturn]] void alarm(const LedgerEvent& event, Bucket bucket, std::int64_t bseq, const char* reason) {
    throw LedgerAlarm(std::string(reason) + ": account=" + std::to_string(event.account) +
                      " seq=" + std::to_string(event.seq) + " bucket=" + std::to_string(bucket) +
                      " bseq=" + std::to_string(bseq));
}

void add_usage(UsageSums& sums, const UsageSums& more) {
    sums.requests += more.requests;
    sums.tokens_in += more.tokens_in;
    sums.tokens_out += more.tokens_out;
    sums.cost += more.cost;
    sums.last_ms = std::max(sums.last_ms, more.last_ms);
}

}  // namespace

void append_timestamp(std::string& out, std::int64_t unix_ms) {
    using namespace std::chrono;
    const sys_time<milliseconds> at{milliseconds(unix_ms)};
    const auto day = floor<days>(at);
    const year_month_day date(day);
    const std::int64_t in_day_ms = (at - day).count();
    append_padded(out, static_cast<int>(date.year()), 4);
    out += '-';
    append_padded(out, static_cast<unsigned>(date.month()), 2);
    out += '-';
    append_padded(out, static_cast<unsigned>(date.day()), 2);
    out += ' ';
    append_padded(out, in_day_ms / 3'600'000, 2);
    out += ':';
    append_padded(out, in_day_ms / 60'000 % 60, 2);
    out += ':';
    append_padded(out, in_day_ms / 1000 % 60, 2);
    out += '.';
    append_padded(out, in_day_ms % 1000, 3);
    out += "+00";
}

void EventBatch::add(Bucket bucket, std::int64_t bseq, const LedgerEvent& event) {
    if (account_bucket(event.account) != bucket) alarm(event, bucket, bseq, "event in a foreign bucket");
    std::optional<UsageRecord> record;
    std::int64_t requests = 0;
    switch (event.kind) {
        case EventKind::usage:
        case EventKind::reap:
            record = decode_usage_record(event.blob).value_or(UsageRecord{});
            requests = 1;
            break;
        case EventKind::correction: {
            record = decode_usage_record(event.blob).value_or(UsageRecord{});
            // Only what the reap did not count: sums over rows stay true (I16).
            const auto reaped = reaped_.find(std::string(event.request));
            const bool counted = reaped != reaped_.end() && reaped->second.found;
            requests = counted ? 0 : 1;
            if (counted) {
                Usage& usage = record->usage;
                usage.input_tokens -= std::min(usage.input_tokens, reaped->second.tokens_in);
                usage.output_tokens -= std::min(usage.output_tokens, reaped->second.tokens_out);
            }
            break;
        }
        case EventKind::late:
            record = decode_usage_record(event.blob).value_or(UsageRecord{});
            lates_.push_back(
                {event.account, event.key, std::string(event.request), event.cost.nano(), std::string(event.blob)});
            break;
        case EventKind::refill:
        case EventKind::grant:
        case EventKind::adjust:
            break;
    }
    if (event.kind == EventKind::reap) {
        reaped_[std::string(event.request)] = {true, event.cost.nano(), record->usage.input_tokens,
                                               record->usage.output_tokens};
    }
    if (event.kind != EventKind::late) {
        const auto known = accounts_.find(event.account);
        if (known != accounts_.end()) {
            if (event.seq != known->second.last_seq + 1) alarm(event, bucket, bseq, "gap in an account's events");
            if (event.balance_after.nano() != known->second.balance + event.delta.nano()) {
                alarm(event, bucket, bseq, "balance does not follow from the event before");
            }
        }
        count_money(event);
        if (record) count_usage(event, *record, requests);
    }
    append_row(bucket, bseq, event, record ? &*record : nullptr);
    oldest_at_ms_ = size_ == 0 ? event.at_ms : std::min(oldest_at_ms_, event.at_ms);
    ++size_;
}

void EventBatch::count_money(const LedgerEvent& event) {
    AccountSums& sums = accounts_[event.account];
    if (sums.last_seq == 0) {
        sums.first_seq = event.seq;
        sums.highest = event.balance_after.nano() - event.delta.nano();
    }
    sums.last_seq = event.seq;
    sums.delta += event.delta.nano();
    sums.balance = event.balance_after.nano();
    sums.highest = std::max(sums.highest, sums.balance);
    sums.opn = std::max(sums.opn, event.opn);
    sums.last_refill_hour = std::max(sums.last_refill_hour, event.last_refill_hour);
}

void EventBatch::count_usage(const LedgerEvent& event, const UsageRecord& record, std::int64_t requests) {
    UsageSums usage;
    usage.requests = requests;
    usage.tokens_in = count_of(record.usage.input_tokens);
    usage.tokens_out = count_of(record.usage.output_tokens);
    usage.cost = event.cost.nano();
    usage.last_ms = event.at_ms;
    AccountSums& account = accounts_[event.account];
    account.cost += usage.cost;
    account.requests += usage.requests;
    account.tokens_in += usage.tokens_in;
    account.tokens_out += usage.tokens_out;
    account.last_used_ms = std::max(account.last_used_ms, event.at_ms);
    KeySums& key = keys_[event.key];
    key.account = event.account;
    add_usage(key.usage, usage);
    const std::int64_t slot = event.at_ms / 1000 / kQuarterSeconds * kQuarterSeconds;
    add_usage(quarters_[{event.account, slot, event.key, record.model, record.endpoint}], usage);
}

void EventBatch::text_field(std::string_view text) {
    offsets_.push_back(static_cast<std::int64_t>(text_.size()));
    text_ += text;
    text_ += '\0';
}

void EventBatch::field(std::int64_t value) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    text_field({digits, static_cast<std::size_t>(end - digits)});
}

void EventBatch::null_field() {
    offsets_.push_back(kNull);
}

/// 0 is how "none" travels in ids.
void EventBatch::optional_field(std::int64_t value) {
    value == 0 ? null_field() : field(value);
}

EventBatch::Row EventBatch::row(std::size_t index) const noexcept {
    Row fields;
    for (std::size_t i = 0; i < fields.size(); ++i) {
        const std::int64_t offset = offsets_[index * fields.size() + i];
        fields[i] = offset == kNull ? nullptr : text_.data() + offset;
    }
    return fields;
}

void EventBatch::forget_rows() noexcept {
    text_.clear();
    offsets_.clear();
}

void EventBatch::append_row(Bucket bucket, std::int64_t bseq, const LedgerEvent& event, const UsageRecord* record) {
    const bool late = event.kind == EventKind::late;
    std::string at;
    append_timestamp(at, event.at_ms);
    text_field(at);
    field(bseq);
    field(event.account);
    optional_field(event.key);
    field(event.delta.nano());
    field(event.cost.nano());
    late ? null_field() : field(event.balance_after.nano());
    late ? null_field() : field(event.seq);
    event.request.empty() ? null_field() : text_field(event.request);
    optional_field(event.opn);
    static const UsageRecord kNothing;
    const UsageRecord& facts = record ? *record : kNothing;
    optional_field(facts.model);
    optional_field(facts.endpoint);
    optional_field(facts.price);
    field(count_of(facts.usage.input_tokens));
    field(count_of(facts.usage.output_tokens));
    field(count_of(facts.usage.cached_tokens));
    field(count_of(facts.usage.reasoning_tokens));
    field(count_of(facts.usage.audio_ms));
    record ? field(std::min<std::int64_t>(facts.duration_ms, INT32_MAX)) : null_field();
    record ? field(std::min<std::int64_t>(facts.ttft_ms, INT32_MAX)) : null_field();
    field(bucket);
    field(static_cast<int>(event.kind));
    record ? field(static_cast<int>(facts.source)) : null_field();
    record ? optional_field(facts.status) : null_field();
}

}  // namespace lumen::admind
