// JSON as REST speaks it: exact amounts, UTC times, and text that can never make the writer throw.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "lumen_core/money.h"

namespace lumen::admind {

using Json = nlohmann::ordered_json;

/// Invalid UTF-8 becomes U+FFFD instead of an exception.
std::string to_text(const Json& json);
/// Null when it is not JSON or nested deeper than any request of ours.
std::optional<Json> parse_json(std::string_view text);

/// The text of that name; empty when there is none or it is something else.
std::string text_member(const Json& object, const char* name);

/// {"coins":"12.45","nano":"12450000000"}
Json coins_json(NanoCoins amount);
Json coins_json(const std::optional<NanoCoins>& amount);  ///< null when absent
/// "2026-01-31T09:11:05.123Z"
std::string utc_text(std::int64_t unix_ms);
Json utc_json(std::int64_t unix_ms);  ///< null for 0
/// Ids are strings: they may pass 2^53.
Json id_json(std::int64_t id);
/// Decimal digits only, > 0.
std::optional<std::int64_t> parse_id(std::string_view text) noexcept;

std::int64_t unix_ms_now() noexcept;
bool is_utf8(std::string_view text) noexcept;

}  // namespace lumen::admind
