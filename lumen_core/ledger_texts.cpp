// Reads the ledger's texts: replies, events, holds, and the usage record that travels inside them.
#include <algorithm>
#include <charconv>
#include <limits>
#include <type_traits>

#include "lumen_core/ledger_protocol.h"

namespace lumen {
namespace {

/// Takes a text apart, field by field; one wrong field, and `ok` is false for good.
class Fields {
 public:
    Fields(std::string_view text, char separator) noexcept : rest_(text), separator_(separator) {}

    bool ok() const noexcept { return ok_; }
    bool at_end() const noexcept { return at_end_; }
    bool complete() const noexcept { return ok_ && at_end_; }

    std::string_view word() noexcept {
        if (at_end_) {
            ok_ = false;
            return {};
        }
        std::size_t length = 0;  // of a few bytes: a call of the library would take longer
        while (length < rest_.size() && rest_[length] != separator_) ++length;
        const std::string_view field = rest_.substr(0, length);
        if (length == rest_.size()) {
            at_end_ = true;
        } else {
            rest_.remove_prefix(length + 1);
        }
        ok_ = ok_ && !field.empty();
        return field;
    }

    /// All that is left, separators included; may be empty.
    std::string_view remainder() noexcept {
        if (at_end_) ok_ = false;
        at_end_ = true;
        return rest_;
    }

    template <typename Integer = std::int64_t>
    Integer number() noexcept {
        if constexpr (std::is_same_v<Integer, std::int64_t>) {
            if (std::int64_t value = 0; take_short_number(value)) return value;
        }
        return parsed<Integer>(word());
    }

    /// `-` is 0.
    std::int64_t number_or_dash() noexcept { return optional_number().value_or(0); }
    std::optional<std::int64_t> optional_number() noexcept {
        const std::string_view field = word();
        if (field == "-") return std::nullopt;
        return parsed<std::int64_t>(field);
    }

    std::string_view word_or_dash() noexcept {
        const std::string_view field = word();
        return field == "-" ? std::string_view{} : field;
    }

    NanoCoins money() noexcept {
        if (std::int64_t nano = 0; take_short_number(nano)) return NanoCoins{nano};
        const std::optional<NanoCoins> amount = parse_nano(word());
        ok_ = ok_ && amount.has_value();
        return amount.value_or(NanoCoins{});
    }

    NanoCoins money_or_dash() noexcept {
        if (!at_end_ && rest_.substr(0, rest_.find(separator_)) == "-") {
            word();
            return NanoCoins{};
        }
        return money();
    }

    bool flag(std::string_view yes, std::string_view no) noexcept {
        const std::string_view field = word();
        ok_ = ok_ && (field == yes || field == no);
        return field == yes;
    }

 private:
    /// Takes the next field if it is a number as nearly all are: not negative, of up to 18 digits, without a needless
    /// zero. What it leaves is for the longer way to judge.
    bool take_short_number(std::int64_t& number) noexcept {
        std::size_t digits = 0;
        std::uint64_t value = 0;
        for (; digits < rest_.size() && rest_[digits] >= '0' && rest_[digits] <= '9'; ++digits) {
            value = value * 10 + static_cast<std::uint64_t>(rest_[digits] - '0');
        }
        if (at_end_ || digits == 0 || digits > 18 || (digits > 1 && rest_.front() == '0')) return false;
        if (digits == rest_.size()) {
            at_end_ = true;
        } else if (rest_[digits] == separator_) {
            rest_.remove_prefix(digits + 1);
        } else {
            return false;
        }
        number = static_cast<std::int64_t>(value);
        return true;
    }

    template <typename Integer>
    Integer parsed(std::string_view field) noexcept {
        Integer value = 0;
        const char* end = field.data() + field.size();
        const auto [stop, error] = std::from_chars(field.data(), end, value);
        ok_ = ok_ && error == std::errc{} && stop == end;
        return value;
    }

    std::string_view rest_;
    char separator_;
    bool ok_ = true;
    bool at_end_ = false;
};

struct ReplyWord {
    std::string_view word;
    Reply reply;
};
constexpr ReplyWord kReplyWords[] = {
    {"OK", Reply::ok},
    {"NOTREADY", Reply::not_ready},
    {"NOKEY", Reply::no_key},
    {"REVOKED", Reply::revoked},
    {"NOACCT", Reply::no_account},
    {"EXPIRED", Reply::expired},
    {"DISABLED", Reply::disabled},
    {"POLICY", Reply::policy},
    {"CONSENT", Reply::consent},
    {"GONE", Reply::gone},
    {"RANGE", Reply::range},
    {"NOBUDGET", Reply::no_budget},
    {"COINS", Reply::coins},
    {"NEVER", Reply::never},
    {"HELD", Reply::held},
    {"KEYCAP", Reply::key_cap},
    {"CONC", Reply::concurrency},
    {"TOOLARGE", Reply::too_large},
    {"RPM", Reply::rpm},
    {"TPM", Reply::tpm},
    {"DUP", Reply::dup},
    {"NONE", Reply::none},
    {"LATE", Reply::late},
    {"REFUSED", Reply::refused},
    {"NOTYET", Reply::not_yet},
    {"SAME", Reply::same},
    {"FULL", Reply::full},
    {"GAP", Reply::gap},
    {"STALE", Reply::stale},
    {"NONCE", Reply::nonce},
    {"MOVED", Reply::moved},
};

Reply reply_of_word(std::string_view word) noexcept {
    for (const ReplyWord& entry : kReplyWords) {
        if (entry.word == word) return entry.reply;
    }
    return Reply::malformed;
}

void read_ok_fields(Script script, Fields& fields, LedgerReply& reply) noexcept {
    switch (script) {
        case Script::lookup:
            reply.account = fields.number();
            reply.key = fields.number();
            break;
        case Script::admit:
            reply.balance = fields.money();
            reply.held = fields.money();
            reply.unlimited = fields.flag("1", "0");
            reply.again = !fields.at_end() && fields.flag("again", "again");
            break;
        case Script::settle:
            reply.balance = fields.money();
            reply.held = fields.money();
            reply.token = fields.word();
            break;
        case Script::reap:
            reply.balance = fields.money();
            reply.held = fields.money();
            break;
        case Script::renew:
            reply.balance = fields.money();
            reply.account_active = fields.flag("1", "2");
            break;
        default:
            break;
    }
}

void read_fields(Script script, Fields& fields, LedgerReply& reply) noexcept {
    switch (reply.reply) {
        case Reply::ok:
            read_ok_fields(script, fields, reply);
            break;
        case Reply::policy:
            reply.account_policy = fields.number_or_dash();
            reply.key_policy = fields.number_or_dash();
            break;
        case Reply::coins:
            reply.balance = fields.money();
            reply.held = fields.money();
            reply.limit = fields.money();
            reply.rate = fields.money();
            break;
        case Reply::key_cap:
            reply.cap = fields.money();
            reply.cap_used = fields.money();
            reply.cap_end_ms = fields.number();
            break;
        case Reply::rpm:
        case Reply::tpm:
            reply.wait_us = fields.number();
            break;
        case Reply::dup:
        case Reply::none:
        case Reply::late:
            if (script == Script::settle) reply.token = fields.word();
            break;
        case Reply::gap:
            reply.opn = fields.number();
            break;
        default:
            break;
    }
}

constexpr std::int64_t kLatestUs = 9'000'000'000'000'000;  ///< as in token_correction.lua

/// How many bytes of an admit's reply are limits that hold, with the letter that says whose; 0: there are none.
std::size_t bytes_of_rates(std::string_view reply) noexcept {
    if (reply.empty()) return 0;
    switch (reply.front()) {
        case 'a':
        case 'k':
            return 1 + kPackedLimitsBytes;
        case 'b':
            return 1 + 2 * kPackedLimitsBytes;
        default:
            return 0;
    }
}

/// Keeps the rate that has least left. False: a rate that cannot be.
bool narrow(std::optional<RateStanding>& narrowest, const Rates& rates,
            const std::array<std::int64_t, kRatesOfAKind>& used_up_us, std::int64_t now_us) noexcept {
    for (std::size_t i = 0; i < rates.size(); ++i) {
        if (rates[i].limit == 0) continue;
        const std::int64_t period_us = rates[i].period_s * 1'000'000;
        if (period_us == 0) return false;
        const std::int64_t reset_us = std::max(used_up_us[i] - now_us, std::int64_t{0});
        // What is left of a period, in requests or tokens; the product may need more than 64 bits.
        const auto left_us = static_cast<unsigned __int128>(std::max(period_us - reset_us, std::int64_t{0}));
        const auto remaining = static_cast<std::int64_t>(left_us * static_cast<unsigned __int128>(rates[i].limit) /
                                                         static_cast<unsigned __int128>(period_us));
        if (!narrowest || remaining < narrowest->remaining) {
            narrowest = {rates[i].limit, remaining, reset_us};
        }
    }
    return true;
}

/// `packed`: the letter and the limits; the time is the server's. False: they are none of ours.
bool read_rates(std::string_view packed, std::int64_t now_us, LedgerReply& reply) noexcept {
    if (now_us <= 0 || now_us > kLatestUs) return false;
    for (packed.remove_prefix(1); !packed.empty(); packed.remove_prefix(kPackedLimitsBytes)) {
        const std::optional<PackedLimits> scope = unpack_limits(packed.substr(0, kPackedLimitsBytes));
        if (!scope || !narrow(reply.requests, scope->limits.requests, scope->requests_used_up_us, now_us) ||
            !narrow(reply.tokens, scope->limits.tokens, scope->tokens_used_up_us, now_us)) {
            return false;
        }
    }
    return true;
}

constexpr std::array<EventKind, 7> kEventKinds{EventKind::usage,  EventKind::refill,     EventKind::grant,
                                               EventKind::adjust, EventKind::correction, EventKind::reap,
                                               EventKind::late};

std::optional<EventKind> event_kind_of_name(std::string_view name) noexcept {
    for (const EventKind kind : kEventKinds) {
        if (event_kind_name(kind) == name) return kind;
    }
    return std::nullopt;
}

}  // namespace

Blob encode_usage_record(const UsageRecord& record) noexcept {
    Blob blob;
    const auto put = [&blob](auto number) {
        char* end = blob.text.data() + blob.text.size();
        char* at = blob.text.data() + blob.length;
        if (blob.length > 0) *at++ = ',';
        blob.length = static_cast<std::size_t>(std::to_chars(at, end, number).ptr - blob.text.data());
    };
    put(record.model);
    put(record.endpoint);
    put(record.price);
    put(record.usage.input_tokens);
    put(record.usage.cached_tokens);
    put(record.usage.cache_write_tokens);
    put(record.usage.output_tokens);
    put(record.usage.reasoning_tokens);
    put(record.usage.audio_ms);
    put(record.usage.images);
    put(record.usage.characters);
    put(record.duration_ms);
    put(record.ttft_ms);
    put(static_cast<unsigned>(record.source));
    put(record.status);
    return blob;
}

std::optional<UsageRecord> decode_usage_record(std::string_view blob) noexcept {
    Fields fields(blob, ',');
    UsageRecord record;
    record.model = fields.number();
    record.endpoint = fields.number();
    record.price = fields.number();
    record.usage.input_tokens = fields.number<std::uint64_t>();
    record.usage.cached_tokens = fields.number<std::uint64_t>();
    record.usage.cache_write_tokens = fields.number<std::uint64_t>();
    record.usage.output_tokens = fields.number<std::uint64_t>();
    record.usage.reasoning_tokens = fields.number<std::uint64_t>();
    record.usage.audio_ms = fields.number<std::uint64_t>();
    record.usage.images = fields.number<std::uint64_t>();
    record.usage.characters = fields.number<std::uint64_t>();
    record.duration_ms = fields.number<std::uint32_t>();
    record.ttft_ms = fields.number<std::uint32_t>();
    const auto source = fields.number<std::uint8_t>();
    record.status = fields.number<std::uint16_t>();
    if (!fields.complete() || source > static_cast<std::uint8_t>(UsageSource::estimated)) return std::nullopt;
    record.source = static_cast<UsageSource>(source);
    return record;
}

LedgerReply parse_reply(Script script, std::string_view text) noexcept {
    const std::size_t packed = bytes_of_rates(text);
    if (packed > text.size() || (packed > 0 && script != Script::admit)) return {};
    Fields fields(text.substr(packed), ' ');
    LedgerReply reply;
    if (packed > 0 && !read_rates(text.substr(0, packed), fields.number(), reply)) return {};
    reply.reply = reply_of_word(fields.word());
    read_fields(script, fields, reply);
    const bool asks_for_rates = reply.reply == Reply::rpm || reply.reply == Reply::tpm;
    return fields.complete() && (packed > 0 || !asks_for_rates) ? reply : LedgerReply{};
}

std::string_view next_reply_line(std::string_view& text) noexcept {
    const std::size_t length = std::min(text.find('\n', bytes_of_rates(text)), text.size());
    const std::string_view line = text.substr(0, length);
    text.remove_prefix(std::min(length + 1, text.size()));
    return line;
}

std::string_view event_kind_name(EventKind kind) noexcept {
    switch (kind) {
        case EventKind::usage:
            return "usage";
        case EventKind::refill:
            return "refill";
        case EventKind::grant:
            return "grant";
        case EventKind::adjust:
            return "adjust";
        case EventKind::correction:
            return "correction";
        case EventKind::reap:
            return "reap";
        case EventKind::late:
            return "late";
    }
    return "";
}

std::optional<LedgerEvent> parse_event(std::string_view text) noexcept {
    Fields fields(text, ' ');
    LedgerEvent event;
    const std::optional<EventKind> kind = event_kind_of_name(fields.word());
    if (!kind) return std::nullopt;
    event.kind = *kind;
    event.account = fields.number();
    event.key = fields.number_or_dash();
    event.delta = fields.money();
    event.cost = fields.money();
    event.balance_after = fields.money_or_dash();
    event.seq = fields.number_or_dash();
    event.last_refill_hour = fields.number_or_dash();
    event.at_ms = fields.number();
    event.request = fields.word_or_dash();
    event.opn = fields.number_or_dash();
    event.blob = fields.remainder();
    if (event.blob == "-") event.blob = {};
    if (!fields.complete()) return std::nullopt;
    return event;
}

std::optional<Hold> parse_hold(std::string_view text) noexcept {
    Fields fields(text, ' ');
    Hold hold;
    hold.amount = fields.money();
    hold.shadow = fields.money();
    hold.deadline_ms = fields.number();
    const std::string_view flags = fields.word();
    hold.account = fields.number();
    hold.key = fields.number();
    hold.estimated_tokens = fields.number<std::uint64_t>();
    hold.blob = fields.remainder();
    if (!fields.complete() || flags.size() != 2) return std::nullopt;
    hold.unlimited = flags[0] == 'u';
    hold.counted = flags[1] == 'c';
    if ((!hold.unlimited && flags[0] != 'l') || (!hold.counted && flags[1] != 'n')) return std::nullopt;
    return hold;
}

}  // namespace lumen
