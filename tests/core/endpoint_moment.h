// When the tests of endpoint choice and health take place.
#pragma once

#include <cstdint>

namespace lumen {

inline constexpr std::int64_t kNow = 1'700'000'000'000;  ///< Unix time, ms
inline constexpr std::int64_t kLease = 10'000;           ///< how long a trial may go without an answer, ms

}  // namespace lumen
