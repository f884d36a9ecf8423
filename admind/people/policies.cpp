#include "admind/people/policies.h"

#include <openssl/sha.h>

#include "admind/stores/pg_values.h"

namespace lumen::admind {

PolicyId find_or_make_policy(pqxx::transaction_base& transaction, std::string_view canonical,
                             const PolicyContent& content) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(canonical.data()), canonical.size(), digest);
    const pqxx::binarystring digest_bytes(digest, sizeof digest);

    const auto known = transaction.exec_params("select id from policies where digest = $1", digest_bytes);
    if (!known.empty()) return known[0][0].as<PolicyId>();
    // Two admind may make the same policy at once: the row of the first one counts.
    return transaction
        .exec_params1(
            "insert into policies (strict, any_model, allowed, needs_consent, addresses, digest)"
            " values ($1, $2, $3::bigint[], $4::bigint[], array(select jsonb_array_elements_text($5::jsonb)), $6)"
            " on conflict (digest) do update set last_used_at = now() returning id",
            content.strict, content.any_model, sql_ids(content.allowed), sql_ids(content.needs_consent),
            sql_texts(content.addresses), digest_bytes)[0]
        .as<PolicyId>();
}

}  // namespace lumen::admind
