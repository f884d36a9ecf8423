// A whole admind in this process over private servers: real HTTP, real PostgreSQL, real Redis.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "admind/daemon.h"
#include "admind/text/json.h"
#include "tests/harness/redis_server.h"
#include "tests/harness/server_process.h"

namespace lumen::admind {

struct HttpReply {
    int status = 0;
    std::multimap<std::string, std::string> headers;  ///< names in lower case
    std::string text;
    Json body;  ///< null when it is not JSON

    std::string header(const std::string& lower_name) const;
    std::string code() const { return body.is_object() ? body.value("code", "") : ""; }
};

using Headers = std::vector<std::pair<std::string, std::string>>;

class PrivateAdmind {
 public:
    /// `models_and_more`: sections of lumen.yaml besides the app's.
    explicit PrivateAdmind(const std::string& models_and_more);
    ~PrivateAdmind();

    /// The one that most tests share; each of them makes its own users.
    static PrivateAdmind& shared();

    HttpReply call(const std::string& method, const std::string& path, const Headers& headers,
                   const std::optional<std::string>& body = std::nullopt) const;

    /// As operator of scope admin; POST gets a fresh Idempotency-Key, the others `If-Match: *`.
    HttpReply as_operator(const std::string& method, const std::string& path, const Json& body = nullptr) const;
    Headers operator_headers() const { return {{"Authorization", "Bearer " + operator_token}}; }

    /// A person's browser: its cookie, and a page of our own origin.
    struct Browser {
        const PrivateAdmind* admind = nullptr;
        std::string cookie;
        std::int64_t user = 0;
        std::string account;
        HttpReply call(const std::string& method, const std::string& path, const Json& body = nullptr) const;
    };
    /// A new user with a session of its own.
    Browser new_person(const std::string& limits_max = "5") const;
    Browser browser_of(std::int64_t user, const std::string& account) const;
    std::string new_email() const;

    /// One row of the book, as text.
    std::vector<std::string> row(const std::string& query) const;
    void execute(const std::string& statement) const;

    void start();  ///< begin() and wait_until_ready()
    void begin();
    void wait_until_ready() const;
    void stop();
    void write_settings(const std::string& models_and_more);

    static constexpr const char* kPublicUrl = "https://lumen.example.edu";
    static constexpr const char* kSecret = "an installation secret of thirty-two bytes or more";
    static constexpr const char* kDevUser = "dev@example.edu";

    std::string database;
    harness::RedisServer redis_server{{"--appendfsync", "no"}};
    harness::TemporaryDirectory directory{"lumen-admind"};
    std::string operator_token;
    std::unique_ptr<Daemon> daemon;

 private:
    std::string yaml(const std::string& models_and_more) const;
    std::string make_token() const;
    void hold_to_contract(const std::string& method, const std::string& path, const HttpReply& reply) const;
};

/// The one that most tests share.
inline const PrivateAdmind& admind() {
    return PrivateAdmind::shared();
}

}  // namespace lumen::admind
