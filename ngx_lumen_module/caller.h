// Who calls: whose key it is, that it is alive now, and what it may use (design.md §3, steps 2 and 4).
#pragma once

#include "ngx_lumen_module/request.h"

namespace lumen {

/// Finds request.identity, from this worker's memory or by one `lookup`, then goes on with `next`.
void identify(Request& request, Step next);

/// Has Redis confirm that key and account are alive and their policies the ones in request.identity: then `confirmed`;
/// `reconsider` if the policies are others, which are then in request.identity; else the request is refused.
void authorise(Request& request, Step confirmed, Step reconsider);

/// Is the client where the key may be used from? Of a request whose rights are known.
bool comes_from_allowed_address(const Request& request) noexcept;

/// Sets request.policy and key_policy from the snapshot and true; or false, and `again` follows once more is known, or
/// the request was refused.
bool know_rights(Request& request, Step again);

/// The policies in a POLICY reply: remembered for the next requests with this key. false: refused, as it never settles.
bool accept_policies(Request& request, const LedgerReply& reply);

/// Goes on with `next` if the account has agreed to request.model where that is asked for. For calls without an admit,
/// which looks at it itself.
void confirm_consent(Request& request, Step next);
bool needs_consent(const Request& request) noexcept;
/// What the refusal says: where consent is given.
RefusalDetails consent_details(const Request& request);

/// The refusals that lookup, auth and admit have in common.
Refusal refusal_of(Reply reply) noexcept;
/// For the log alone: what of a key that is not valid is wrong; empty where the refusal says it.
std::string_view reason_of(Reply reply) noexcept;

}  // namespace lumen
