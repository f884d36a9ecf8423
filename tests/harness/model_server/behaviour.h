// How the server misbehaves when asked to: by the path of an endpoint (/misbehave/<what>/v1/…), by the name of a model,
// or for everything at run time (POST /control). <what> is one or more of these words, joined by `+`:
//
//   slow-N             N ms pass before the first byte                pace-N   N ms pass before each token of a stream
//   NNN[-retry-S]      answers with status NNN, Retry-After S         tokens-N the answer has N tokens
//   cut-N              the connection breaks after N tokens           hang     the answer never comes
//   held               the answer waits until the run-time mode is set again
//   held-N             so does a stream, after N of its events
//   refuse             the connection is reset; as the run-time mode, new connections are refused
//   no-usage           the answer says nothing about usage            usage-every-chunk  cumulative, as vLLM can
//   integer-code       errors are flat and their `code` is a number, as vLLM's were (400 unless a status is given too)
//   huge               the answer is one word of 2 MiB                garbage  the answer is neither JSON nor SSE
//   cached-N, cache-write-N, reasoning-N  N of the prompt's, of the answer's tokens are reported as such
//   usage-in-tokens    speech to text is reported in tokens, ten a second, and not in seconds
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace lumen::model_server {

inline constexpr std::size_t kHugeBytes = 2 * 1024 * 1024;
inline constexpr std::size_t kMaxAnswerTokens = 1'000'000;

enum class UsageReport : std::uint8_t { as_asked, never, every_chunk };

struct Behaviour {
    std::uint32_t delay_ms = 0;
    std::uint32_t pace_ms = 0;
    int status = 200;
    std::optional<std::uint32_t> retry_after_s;
    std::optional<std::size_t> tokens;      ///< length of the answer
    std::optional<std::size_t> cut_after;   ///< tokens
    std::optional<std::size_t> held_after;  ///< events
    std::size_t cached_tokens = 0;
    std::size_t cache_write_tokens = 0;
    std::size_t reasoning_tokens = 0;
    UsageReport usage = UsageReport::as_asked;
    bool usage_in_tokens = false;
    bool integer_code = false;
    bool huge = false;
    bool garbage = false;
    bool hang = false;
    bool held = false;
    bool refuse = false;
};

/// Adds what the words say to `behaviour`; false, and nothing changed, if one of them is none of ours.
bool apply_behaviour(std::string_view words, Behaviour& behaviour);

}  // namespace lumen::model_server
