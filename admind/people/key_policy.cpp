#include "admind/people/key_policy.h"

#include <openssl/sha.h>

#include "admind/stores/pg_values.h"

namespace lumen::admind {

PolicyId key_policy_of(pqxx::transaction_base& transaction, const KeyScope& scope) {
    if (!scope.models && scope.addresses.empty()) return 0;
    const std::string models = sql_ids(scope.models.value_or(std::vector<ModelId>{}));
    std::string canonical = "key" + (scope.models ? models : std::string("*"));
    for (const std::string& range : scope.addresses) canonical += " " + range;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256(reinterpret_cast<const unsigned char*>(canonical.data()), canonical.size(), digest);
    const pqxx::binarystring digest_bytes(digest, sizeof digest);

    const auto known = transaction.exec_params("select id from policies where digest = $1", digest_bytes);
    if (!known.empty()) return known[0][0].as<PolicyId>();
    return transaction
        .exec_params1(
            "insert into policies (strict, any_model, allowed, needs_consent, addresses, digest)"
            " values (false, $1, $2::bigint[], '{}', array(select jsonb_array_elements_text($3::jsonb)), $4)"
            " on conflict (digest) do update set last_used_at = now() returning id",
            !scope.models, models, sql_texts(scope.addresses), digest_bytes)[0]
        .as<PolicyId>();
}

}  // namespace lumen::admind
