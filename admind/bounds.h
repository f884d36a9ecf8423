// Bounds of admind's HTTP side, each with its reason (style.md, rule 9).
#pragma once

#include <chrono>
#include <cstddef>

namespace lumen::admind {

inline constexpr int kHttpThreads = 16;  ///< one connection each; as many as the database pool has connections
inline constexpr int kHttpQueued = 128;  ///< connections waiting for a thread; more knock again a second later
inline constexpr std::chrono::seconds kHttpLastConnections{5};  ///< for those who came before the end, to get a thread
inline constexpr std::chrono::seconds kHttpIdle{10};            ///< without a byte from the client
inline constexpr std::chrono::seconds kHttpBodyDeadline{15};    ///< for the whole body, however it trickles
inline constexpr std::size_t kMaxBodyBytes =
    std::size_t{64} * 1024;  ///< the largest JSON any route takes is a list of models
inline constexpr std::size_t kMaxConfigBodyBytes =
    std::size_t{6} * 1024 * 1024;  ///< lumen.yaml has 4 MiB at most; as JSON it is a little longer
/// A body that is too large is read this far before it is refused: closing on unread bytes would cut off the answer.
inline constexpr std::size_t kMaxDiscardedBodyBytes = 1024 * 1024;
inline constexpr std::size_t kMaxQueryParameters = 32;
inline constexpr int kDefaultPage = 50;
inline constexpr int kLargestPage = 200;
inline constexpr int kLargestStatement = 10'000;  ///< rows; some 6 MiB of JSON
inline constexpr std::size_t kMaxProfilePages =
    6;  ///< of keys, and of models, in /me/profile: more than either can have

inline constexpr std::chrono::hours kSessionLife{7 * 24};  ///< at most
inline constexpr std::chrono::hours kSessionIdle{2 * 24};  ///< without a request; a page left open overnight goes on
inline constexpr std::chrono::minutes kSessionNoted{5};    ///< a use is written down so often
inline constexpr std::chrono::seconds kLoginLife{600};     ///< from leaving for the provider to coming back
inline constexpr std::chrono::minutes kDraftLife{15};      ///< P34
inline constexpr std::chrono::hours kIdempotencyLife{24};
inline constexpr std::chrono::seconds kIdempotencyLease{60};  ///< an unfinished request older than this has died

inline constexpr std::chrono::milliseconds kRedisTimeout{1000};
inline constexpr std::size_t kRedisLinks = 16;

inline constexpr std::size_t kMaxKeysPerAccount = 1000;  ///< active ones; keeps /me/profile one bounded answer

}  // namespace lumen::admind
