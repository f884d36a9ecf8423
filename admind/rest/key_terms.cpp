#include "admind/rest/key_terms.h"

#include <algorithm>
#include <unordered_map>

#include "admind/people/account_rules.h"
#include "admind/stores/pg_values.h"
#include "lumen_core/address_range.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestKeyName = 64;  // P37
constexpr std::size_t kMostModels = 200;
constexpr std::size_t kLongestModelName = 128;
constexpr std::size_t kLongestRange = 64;
constexpr std::int64_t kHighestRate = 1'000'000'000;

struct Period {
    const char* name;
    std::int64_t window_ms;
};
constexpr Period kPeriods[] = {{"day", 86'400'000}, {"week", 604'800'000}, {"month", 2'592'000'000}, {"total", 0}};

std::string indexed(const char* name, std::size_t index) {
    return std::string(name) + "[" + std::to_string(index) + "]";
}

Wish<std::vector<std::string>> read_models(RequestFields& fields) {
    Wish<std::vector<std::string>> wish{fields.given("models"), std::nullopt};
    const bool is_list = fields.object("models") != nullptr;
    auto names = fields.texts("models", kMostModels, kLongestModelName);
    if (!is_list) return wish;
    if (names.empty()) fields.error("models", "wrong_length", "must name a model; null is all of them");
    wish.value = std::move(names);
    return wish;
}

Wish<std::vector<std::string>> read_ranges(RequestFields& fields) {
    Wish<std::vector<std::string>> wish{fields.given("allowed_ips"), std::nullopt};
    std::vector<std::string> ranges;
    const auto texts = fields.texts("allowed_ips", kMaxAddressRanges, kLongestRange);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto range = parse_address_range(texts[i]);
        if (range)
            ranges.push_back(address_range_text(*range));
        else
            fields.error(indexed("allowed_ips", i), "not_a_range", "must be an address or a range like 192.0.2.0/24");
    }
    std::sort(ranges.begin(), ranges.end());
    ranges.erase(std::unique(ranges.begin(), ranges.end()), ranges.end());
    if (!ranges.empty()) wish.value = std::move(ranges);
    return wish;
}

Wish<std::int64_t> read_rate(RequestFields& fields, const char* name) {
    Wish<std::int64_t> wish{fields.given(name), std::nullopt};
    wish.value = fields.integer(name, Need::optional, 1, kHighestRate);
    return wish;
}

Wish<KeyCap> read_cap(RequestFields& fields) {
    Wish<KeyCap> wish{fields.given("budget"), std::nullopt};
    const Json* budget = fields.object("budget");
    if (budget == nullptr) return wish;
    RequestFields inner(*budget);
    const auto coins = inner.coins("coins", Need::required);
    const auto period = inner.word("period", Need::required, {"day", "week", "month", "total"});
    fields.take_errors("budget", inner);
    for (const Period& known : kPeriods) {
        if (coins && period && *period == known.name) wish.value = KeyCap{*coins, known.window_ms};
    }
    return wish;
}

/// The ids of `names`. A model that is hidden from the account is no model, or a key would tell which names there are.
std::variant<std::vector<ModelId>, Problem> model_ids(pqxx::transaction_base& transaction, const Settings& settings,
                                                      AccountId account, const std::vector<std::string>& names) {
    std::unordered_map<std::string, ModelId> known;
    std::optional<RulesOfAccount> rules;
    for (const auto& row :
         transaction.exec_params("select id, name, hide_when_blocked, access, needs_ack from models where not removed"
                                 " and name in (select jsonb_array_elements_text($1::jsonb))",
                                 sql_texts(names))) {
        const auto id = row[0].as<ModelId>();
        if (row[2].as<bool>()) {
            if (!rules) rules = read_rules_of(transaction, settings, account);
            ModelRule rule{id, std::nullopt, row[4].as<bool>()};
            if (!row[3].is_null()) rule.access = row[3].as<int>() == 1 ? AccessRule::allowed : AccessRule::blocked;
            if (resolve_model(rules->book, rules->own, rule).rule == AccessRule::blocked) continue;
        }
        known.emplace(row[1].as<std::string>(), id);
    }
    Problem unknown{422, "validation_failed", "Some fields are wrong; see errors."};
    std::vector<ModelId> ids;
    for (std::size_t i = 0; i < names.size(); ++i) {
        const auto found = known.find(names[i]);
        if (found != known.end())
            ids.push_back(found->second);
        else
            unknown.errors.push_back({indexed("models", i), "unknown_model", "there is no such model"});
    }
    if (!unknown.errors.empty()) return unknown;
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    return ids;
}

std::vector<ModelId> ids_of(const std::string& json) {
    const auto list = parse_json(json);
    return list && list->is_array() ? list->get<std::vector<ModelId>>() : std::vector<ModelId>{};
}

std::optional<std::int64_t> optional_number(const pqxx::field& field) {
    return field.is_null() ? std::nullopt : std::optional<std::int64_t>(field.as<std::int64_t>());
}

}  // namespace

const char* key_period_name(std::int64_t window_ms) {
    for (const Period& period : kPeriods) {
        if (period.window_ms == window_ms) return period.name;
    }
    return "total";
}

KeyWishes read_key_wishes(RequestFields& fields, KeyRequest kind, std::int64_t now_ms) {
    const bool is_new = kind == KeyRequest::creation;
    KeyWishes wishes;
    wishes.name = fields.text("name", is_new ? Need::required : Need::optional, kLongestKeyName);
    if (!is_new) wishes.paused = fields.boolean("paused", Need::optional);
    wishes.models = read_models(fields);
    wishes.allowed_ips = read_ranges(fields);
    wishes.requests_per_minute = read_rate(fields, "rpm");
    wishes.tokens_per_minute = read_rate(fields, "tpm");
    wishes.concurrency = read_rate(fields, "concurrency");
    wishes.expires_ms = {fields.given("expires_at"), fields.future_time("expires_at", Need::optional, now_ms)};
    wishes.cap = read_cap(fields);
    return wishes;
}

std::variant<KeyTerms, Problem> with_wishes(pqxx::transaction_base& transaction, const Settings& settings,
                                            AccountId account, KeyTerms terms, const KeyWishes& wishes) {
    if (wishes.name) terms.name = *wishes.name;
    if (wishes.paused) terms.paused = *wishes.paused;
    if (wishes.models.given) {
        terms.scope.models.reset();
        if (wishes.models.value) {
            auto ids = model_ids(transaction, settings, account, *wishes.models.value);
            if (auto* problem = std::get_if<Problem>(&ids)) return std::move(*problem);
            terms.scope.models = std::get<std::vector<ModelId>>(std::move(ids));
        }
    }
    if (wishes.allowed_ips.given) {
        terms.scope.addresses = wishes.allowed_ips.value.value_or(std::vector<std::string>{});
    }
    if (wishes.requests_per_minute.given) terms.requests_per_minute = wishes.requests_per_minute.value;
    if (wishes.tokens_per_minute.given) terms.tokens_per_minute = wishes.tokens_per_minute.value;
    if (wishes.concurrency.given) terms.concurrency = wishes.concurrency.value.value_or(0);
    if (wishes.expires_ms.given) terms.expires_ms = wishes.expires_ms.value.value_or(0);
    if (wishes.cap.given) terms.cap = wishes.cap.value;
    return terms;
}

std::optional<KeyTerms> lock_key_terms(pqxx::transaction_base& transaction, AccountId account, KeyId key) {
    const auto rows = transaction.exec_params(
        "select name, state, to_jsonb(models)::text models, to_jsonb(allowed_ips) allowed_ips,"
        " own_requests_per_minute, own_tokens_per_minute, concurrency,"
        " coalesce((extract(epoch from expires_at) * 1000)::bigint, 0) expires_ms, cap,"
        " coalesce((extract(epoch from cap_len) * 1000)::bigint, 0) window_ms from api_keys"
        " where id = $2 and account_id = $1 and kind = 'user' and state <> 2 for update",
        account, key);
    if (rows.empty()) return std::nullopt;
    const auto& row = rows[0];
    KeyTerms terms;
    terms.name = row["name"].as<std::string>();
    terms.paused = row["state"].as<int>() == static_cast<int>(KeyState::paused);
    if (!row["models"].is_null()) terms.scope.models = ids_of(row["models"].as<std::string>());
    terms.scope.addresses = read_texts(row["allowed_ips"]);
    terms.requests_per_minute = optional_number(row["own_requests_per_minute"]);
    terms.tokens_per_minute = optional_number(row["own_tokens_per_minute"]);
    terms.concurrency = row["concurrency"].as<std::int64_t>();
    terms.expires_ms = row["expires_ms"].as<std::int64_t>();
    if (!row["cap"].is_null()) {
        terms.cap = KeyCap{NanoCoins(row["cap"].as<std::int64_t>()), row["window_ms"].as<std::int64_t>()};
    }
    return terms;
}

void write_key_terms(pqxx::transaction_base& transaction, KeyId key, const KeyTerms& terms, PolicyId policy,
                     const RateSettings& site) {
    const std::string cap = terms.cap ? std::to_string(terms.cap->coins.nano()) : std::string();
    const std::int64_t window_ms = terms.cap ? terms.cap->window_ms : 0;
    const Limits limits = key_limits(site, terms.requests_per_minute, terms.tokens_per_minute);
    const std::string window = "make_interval(secs => nullif($13::bigint, 0) / 1000.0)";
    // A cap that is new, or whose windows have another length now, begins its first window now, as set_key does.
    transaction.exec_params0(
        "update api_keys set name = $2, state = $3, models = nullif($4, '')::bigint[],"
        " allowed_ips = array(select jsonb_array_elements_text($5::jsonb)),"
        " own_requests_per_minute = nullif($6, '')::bigint, own_tokens_per_minute = nullif($7, '')::bigint,"
        " request_rates = $8, token_rates = $9, concurrency = $10,"
        " expires_at = to_timestamp(nullif($11::bigint, 0) / 1000.0), cap = nullif($12, '')::bigint, cap_len = " +
            window + ", cap_start = case when $12 = '' then null when cap is null or cap_len is distinct from " +
            window + " then now() else cap_start end, policy_id = nullif($14::bigint, 0), ver = ver + 1 where id = $1",
        key, terms.name, static_cast<int>(terms.paused ? KeyState::paused : KeyState::active),
        terms.scope.models ? sql_ids(*terms.scope.models) : std::string(), sql_texts(terms.scope.addresses),
        sql_optional(terms.requests_per_minute), sql_optional(terms.tokens_per_minute), rates_text(limits.requests),
        rates_text(limits.tokens), terms.concurrency, terms.expires_ms, cap, window_ms, policy);
}

}  // namespace lumen::admind
