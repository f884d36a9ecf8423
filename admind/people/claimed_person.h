// Who a provider says somebody is: address and name, out of sign-in claims. Pure.
#pragma once

#include <string>

#include "admind/text/json.h"

namespace lumen::admind {

struct ClaimedPerson {
    std::string email;              ///< as users are stored; empty: none, or none that is an address
    std::string name;               ///< the best there is; never empty with an address
    bool email_unverified = false;  ///< the provider says so; where it says nothing, the address is taken
};
ClaimedPerson claimed_person(const Json& claims);

}  // namespace lumen::admind
