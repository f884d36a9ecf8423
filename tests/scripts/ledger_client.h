// One blocking connection to Redis that runs the ledger scripts and reads what they left behind.
#pragma once

#include <hiredis/hiredis.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lumen_core/ledger_protocol.h"

namespace lumen::testing {

enum class Clock : std::uint8_t {
    server,  ///< the scripts as they ship
    fixed,   ///< the scripts with TIME replaced by a read of the key set_clock() writes: the one line that differs
};

class LedgerClient {
 public:
    /// Throws std::runtime_error when there is no such server.
    explicit LedgerClient(const std::string& socket_path, Clock clock = Clock::server);

    /// The reply's text; an error reply is its text as well ("OOM …", "READONLY …"). What an admit says of rates in
    /// packed numbers is written behind each OK, RPM and TPM, limit/remaining/reset_us of requests and of tokens, `-`
    /// for none.
    std::string run(ScriptCall& call);
    template <typename Call>
    std::string run(Call&& call) {
        return run(static_cast<ScriptCall&>(call));
    }
    LedgerReply reply(ScriptCall& call);
    template <typename Call>
    LedgerReply reply(Call&& call) {
        return reply(static_cast<ScriptCall&>(call));
    }

    /// Queues a call; next() gives the replies in order.
    void append(ScriptCall& call);
    std::string next();

    std::string command(const std::vector<std::string>& words);
    std::vector<std::string> list(const std::vector<std::string>& words);
    std::map<std::string, std::string> hash(const std::string& key);
    std::string field(const std::string& key, const std::string& name) { return command({"HGET", key, name}); }
    /// The `e` texts of a bucket's events, in order; checks that the ids are `1-0`, `2-0`, … without a gap.
    std::vector<std::string> events(Bucket bucket);

    std::string replication_id();
    /// begin_rebuild + mark_ready: what admind does with a bucket that lost nothing. Returns the token.
    std::string make_ready(Bucket bucket, const std::string& nonce = "n1");
    void set_clock(Bucket bucket, std::int64_t unix_us);

 private:
    using OwnedReply = std::unique_ptr<redisReply, void (*)(void*)>;
    OwnedReply send(int argc, const char** argv, const std::size_t* lengths);
    OwnedReply send(const std::vector<std::string>& words);
    void aim_at_loaded_script(ScriptCall& call);
    std::string answer(ScriptCall& call);

    std::unique_ptr<redisContext, void (*)(redisContext*)> context_;
    Clock clock_;
    std::array<std::string, kScripts> sha1_;
};

}  // namespace lumen::testing
