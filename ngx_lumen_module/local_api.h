// Answers that come from what the gate holds: GET /v1/models and /v1/models/{id} (spec/rest.md §3).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Where notices are read and accepted, below settings.public_url.
inline constexpr std::string_view kConsentPage = "/profile";

/// Of a path below /v1/.
bool is_model_listing(std::string_view path_below_v1) noexcept;

/// Lists the models the key may use, or shows the one in the path. The identity is known; whether it is alive is asked.
void list_models(Request& request);

/// All enabled models, for the monitoring token.
void list_all_models(Request& request);

/// "key", "usage/…": about the caller's key and its calls.
bool is_account_call(std::string_view path_below_v1) noexcept;
/// Has Redis confirm the key, then passes the request on to what its location names: admind, which believes the gate
/// who is calling by $lumen_identity.
void ask_admind(Request& request);

}  // namespace lumen
