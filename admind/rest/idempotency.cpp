#include "admind/rest/idempotency.h"

#include <openssl/sha.h>

#include <algorithm>

#include "admind/bounds.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestKey = 255;
constexpr int kFirstServerError = 500;

bool is_key(std::string_view key) {
    return key.size() <= kLongestKey &&
           std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

pqxx::binarystring digest_of(const std::string& body) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(body.data()), body.size(), digest);
    return pqxx::binarystring(digest, sizeof digest);
}

struct Claim {
    bool ours = false;
    std::optional<Answer> answer;  ///< what to send instead of working
};

/// Takes the key for us, or says what its first use came to. One whose process died is taken over after its lease.
Claim claim(pqxx::work& transaction, const std::string& caller, const std::string& route, const std::string& key,
            const pqxx::binarystring& digest) {
    transaction.exec_params0("delete from idempotency_keys where begun_at < now() - make_interval(secs => $1)",
                             std::chrono::seconds(kIdempotencyLife).count());
    const auto inserted = transaction.exec_params(
        "insert into idempotency_keys (caller, route, key, body_hash) values ($1, $2, $3, $4)"
        " on conflict (caller, route, key) do update set begun_at = now()"
        " where idempotency_keys.status is null and idempotency_keys.body_hash = excluded.body_hash"
        " and idempotency_keys.begun_at < now() - make_interval(secs => $5) returning 1",
        caller, route, key, digest, std::chrono::seconds(kIdempotencyLease).count());
    if (!inserted.empty()) return {true, std::nullopt};

    const auto rows = transaction.exec_params(
        "select status, answer, body_hash = $4 as same from idempotency_keys"
        " where caller = $1 and route = $2 and key = $3",
        caller, route, key, digest);
    const Answer in_progress(Problem{409, "idempotency_in_progress", "The first request of this key still runs."});
    if (rows.empty()) return {false, in_progress};  // it has just failed; the next repeat will find the key free
    const auto& row = rows[0];
    if (!row["same"].as<bool>()) {
        return {false,
                Answer(Problem{422, "idempotency_key_reused", "This Idempotency-Key was used for another body."})};
    }
    if (row["status"].is_null()) {
        return {false, in_progress};
    }
    Answer answer;
    answer.status = row["status"].as<int>();
    answer.text = row["answer"].as<std::string>();
    answer.content_type = answer.status < 400 ? "application/json" : "application/problem+json";
    answer.headers.emplace_back("Idempotency-Replayed", "true");
    return {false, std::move(answer)};
}

}  // namespace

std::string money_key(const std::string& caller, const std::string& route, const HttpRequest& request) {
    return caller + " " + route + " " + std::string(request.header("idempotency-key"));
}

Answer once(PgPool& postgres, const HttpRequest& request, const std::string& caller, const std::string& route,
            const std::function<Answer()>& work) {
    const std::string key(request.header("idempotency-key"));
    if (key.empty()) {
        return Answer(Problem{400, "idempotency_key_required", "Send an Idempotency-Key, a new one for each intent."});
    }
    if (!is_key(key)) return Answer(Problem{400, "invalid_request", "The Idempotency-Key cannot be read."});
    const pqxx::binarystring digest = digest_of(request.body);
    {
        PgPool::Lease lease = postgres.acquire();
        pqxx::work transaction(*lease);
        Claim claimed = claim(transaction, caller, route, key, digest);
        transaction.commit();
        if (!claimed.ours) return std::move(*claimed.answer);
    }
    const auto release = [&] {
        PgPool::Lease lease = postgres.acquire();
        pqxx::work transaction(*lease);
        transaction.exec_params0("delete from idempotency_keys where caller = $1 and route = $2 and key = $3", caller,
                                 route, key);
        transaction.commit();
    };
    Answer answer;
    try {
        answer = work();
    } catch (...) {
        try {
            release();
        } catch (const std::exception&) {
            // The book went away; the lease runs out by itself.
        }
        throw;
    }
    if (answer.status >= kFirstServerError) {
        release();
        return answer;
    }
    const HttpAnswer rendered = render(answer, request.id);
    PgPool::Lease lease = postgres.acquire();
    pqxx::work transaction(*lease);
    transaction.exec_params0(
        "update idempotency_keys set status = $4, answer = $5 where caller = $1 and route = $2 and key = $3", caller,
        route, key, answer.status, rendered.body);
    transaction.commit();
    return answer;
}

}  // namespace lumen::admind
