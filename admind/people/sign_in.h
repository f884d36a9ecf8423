// From a provider's claims to a person of ours: found, linked or made; name, address and groups as the claims say now.
#pragma once

#include <string>
#include <variant>

#include "admind/services.h"
#include "admind/text/http_message.h"
#include "admind/text/json.h"
#include "lumen_core/ids.h"

namespace lumen::admind {

struct SignedIn {
    std::int64_t user = 0;
    AccountId account = 0;
};
/// Refusals: email_missing, email_unverified, account_disabled.
std::variant<SignedIn, Problem> sign_in_by_claims(const Services& services, const Settings& settings,
                                                  const std::string& issuer, const Json& claims);

/// The configured development user, made at the first sign-in.
std::variant<SignedIn, Problem> sign_in_dev_user(const Services& services, const Settings& settings);

}  // namespace lumen::admind
