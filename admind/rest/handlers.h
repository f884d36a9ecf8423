// The handlers behind the table in routes.cpp; one api_*.cpp a resource (spec/rest.md §2).
#pragma once

#include "admind/rest/routes.h"

namespace lumen::admind {

// api_session.cpp
Answer get_login(const Call& call);
Answer get_callback(const Call& call);
Answer post_logout(const Call& call);
Answer post_devlogin(const Call& call);
Answer get_session(const Call& call);
Answer get_site(const Call& call);

// api_me.cpp
Answer get_profile(const Call& call);
Answer get_me(const Call& call);

// api_avatar.cpp
Answer get_my_avatar(const Call& call);
Answer patch_me(const Call& call);

// api_forecast.cpp
Answer get_forecast(const Call& call);

// api_keys.cpp
Answer post_key_draft(const Call& call);
Answer delete_key_draft(const Call& call);
Answer post_my_key(const Call& call);
Answer get_my_keys(const Call& call);
Answer patch_my_key(const Call& call);
Answer delete_my_key(const Call& call);
Answer get_account_keys(const Call& call);
Answer post_account_key(const Call& call);
Answer delete_account_key(const Call& call);

// api_projects.cpp
Answer get_projects(const Call& call);
Answer post_project(const Call& call);
Answer get_project(const Call& call);
Answer patch_project(const Call& call);

// api_project_people.cpp
Answer post_project_manager(const Call& call);
Answer delete_project_manager(const Call& call);
Answer put_project_owner(const Call& call);
Answer get_project_user_search(const Call& call);

// api_project_keys.cpp
Answer get_project_keys(const Call& call);
Answer post_project_key_draft(const Call& call);
Answer delete_project_key_draft(const Call& call);
Answer post_project_key(const Call& call);
Answer patch_project_key(const Call& call);
Answer delete_project_key(const Call& call);
Answer get_project_models(const Call& call);
Answer post_project_consent(const Call& call);

// api_models.cpp
Answer get_my_models(const Call& call);
Answer post_my_consent(const Call& call);

// api_public_models.cpp
Answer get_models(const Call& call);
Answer get_model(const Call& call);
Answer get_readme(const Call& call);

// api_users.cpp
Answer get_users(const Call& call);
Answer post_user(const Call& call);
Answer get_user(const Call& call);
Answer patch_user(const Call& call);

// api_accounts.cpp
Answer get_account(const Call& call);
Answer put_limits(const Call& call);
Answer delete_limits(const Call& call);
Answer post_grant(const Call& call);
Answer post_reset(const Call& call);

// api_admin_models.cpp
Answer get_admin_models(const Call& call);
Answer get_admin_model(const Call& call);
Answer post_admin_model(const Call& call);
Answer put_admin_model(const Call& call);
Answer delete_admin_model(const Call& call);
Answer post_model_ask_again(const Call& call);

// api_prices.cpp
Answer get_prices(const Call& call);
Answer post_price(const Call& call);
Answer delete_price(const Call& call);

// api_endpoints.cpp
Answer get_endpoints(const Call& call);
Answer post_endpoint(const Call& call);
Answer put_endpoint(const Call& call);
Answer delete_endpoint(const Call& call);
Answer post_endpoint_drain(const Call& call);
Answer post_endpoint_activate(const Call& call);
Answer post_endpoint_probe(const Call& call);
Answer post_model_sync(const Call& call);

// api_access.cpp
Answer put_account_access(const Call& call);
Answer get_access(const Call& call);

// api_groups.cpp
Answer get_groups(const Call& call);
Answer post_group(const Call& call);
Answer get_group(const Call& call);
Answer put_group(const Call& call);
Answer delete_group(const Call& call);
Answer get_members(const Call& call);
Answer put_member(const Call& call);
Answer delete_member(const Call& call);
Answer post_groups_match(const Call& call);

// api_config.cpp
Answer get_config(const Call& call);
Answer put_config(const Call& call);
Answer post_config_validate(const Call& call);
Answer get_config_status(const Call& call);

// api_audit.cpp
Answer get_audit(const Call& call);

// api_ledger.cpp
Answer get_ledger(const Call& call);
Answer get_statement(const Call& call);
Answer post_refill(const Call& call);

// api_operator_tokens.cpp
Answer get_operator_tokens(const Call& call);
Answer post_operator_token(const Call& call);
Answer delete_operator_token(const Call& call);

// api_root.cpp
Answer get_healthz(const Call& call);
Answer get_readyz(const Call& call);
Answer get_metrics(const Call& call);
Answer get_openapi(const Call& call);

}  // namespace lumen::admind
