// What admind tells the open pages of an account through Redis, and the events those pages get of it (design.md §3,
// Live). The gate holds the streams, so both sides must agree on these texts. No I/O, no clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lumen_core/ids.h"
#include "lumen_core/money.h"

namespace lumen {

/// Longest message and most events in it that a gate takes; admind keeps within both.
inline constexpr std::size_t kMaxLiveMessageBytes = 16 * 1024;
inline constexpr std::size_t kMaxLiveEvents = 32;

/// An account's counters in the book: what Redis does not know of it.
struct LiveTotals {
    NanoCoins used;
    std::int64_t tokens_in = 0;
    std::int64_t tokens_out = 0;
};

enum class LiveEventKind : std::uint8_t { key, model, notice };
struct LiveEvent {
    LiveEventKind kind = LiveEventKind::notice;
    std::string data;  ///< a JSON object on one line
};

/// A message of `lumen:live:<account>`, or of `lumen:live` for everybody.
struct LiveMessage {
    std::optional<LiveTotals> totals;  ///< new in the book
    std::vector<LiveEvent> events;     ///< to be passed on as they are
    bool ends_all = false;             ///< the account's streams end (deactivated, rights changed)
    std::string ends_session;          ///< the stream of this session ends: SHA-256 of its cookie, hex
};

std::string live_message_text(const LiveMessage& message);
/// nullopt: not a message of ours, or beyond the bounds. Unknown members are ignored: a newer admind may send more.
std::optional<LiveMessage> parse_live_message(std::string_view text);

/// An account's wallet as Redis has it.
struct LiveWallet {
    NanoCoins balance;
    NanoCoins held;
    std::optional<NanoCoins> limit;  ///< absent: no budget
    NanoCoins rate;
    bool unlimited = false;
    bool active = true;
};
/// Fields of {b}:a:ACC to ask for, in the order that parse_live_wallet() takes their values in.
inline constexpr std::string_view kLiveWalletFields[] = {"bal", "held", "lim", "rate", "unl", "st"};
/// Six words, `-` for what is empty or absent. nullopt: there is no such account (now).
std::optional<LiveWallet> parse_live_wallet(std::string_view text) noexcept;

/// The data of a `balance` event up to `now`, which is all that changes by itself: equal texts are equal states.
/// Amounts are {"coins","nano"}, or null where they mean nothing (no budget, unlimited); `used` and `tokens` are null
/// while the totals are not known.
std::string balance_event_data(const LiveWallet& wallet, const std::optional<LiveTotals>& totals, std::int64_t now_ms);
/// The whole event; `id` names the state, so a client that comes back with it has missed nothing of the balance.
std::string balance_event(std::string_view data, std::int64_t now_ms);
/// Of a state: 16 hex digits.
std::string live_event_id(std::string_view balance_data);
std::string live_event(const LiveEvent& event);

}  // namespace lumen
