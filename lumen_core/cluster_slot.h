// Redis Cluster as a client sees it: which of its 16384 slots a key is in, and what its redirections say.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lumen {

inline constexpr int kClusterSlots = 16384;
/// A command that is sent on this often has met a Cluster in disorder: two redirections are what a migrating slot
/// takes.
inline constexpr int kMostRedirections = 5;

/// CRC16 (XMODEM) of the key, or of its hash tag: what is between the first `{` and the next `}`, unless that is empty.
std::uint16_t cluster_slot(std::string_view key) noexcept;

/// The key that decides where a command goes; empty: any node may answer it. Of a command of several keys the first, as
/// all are in one slot. Arguments are absent as empty texts.
std::string_view routing_key(std::string_view verb, std::string_view second, std::string_view fourth) noexcept;

struct ClusterRedirection {
    bool ask = false;  ///< this once, after ASKING; else for good: MOVED
    std::uint16_t slot = 0;
    std::string_view host;  ///< empty: the host of the node that said so
    std::uint16_t port = 0;
};
/// Of an error reply: `MOVED 3999 127.0.0.1:6381`, `ASK …`.
std::optional<ClusterRedirection> parse_redirection(std::string_view error) noexcept;

/// The slot or the node cannot serve for the moment (TRYAGAIN, CLUSTERDOWN, LOADING, MASTERDOWN): nothing was done.
bool is_cluster_pause(std::string_view error) noexcept;

}  // namespace lumen
