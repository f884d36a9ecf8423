#include "admind/people/site_state.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "admind/ledger/live_updates.h"
#include "admind/stores/pg_values.h"
#include "admind/text/json.h"

namespace lumen::admind {

namespace {

std::vector<std::string> sorted(std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    return names;
}

/// A gate takes messages of a bounded size; `{}` makes pages read it for themselves.
std::string announcement_text(const std::string& announcement) {
    std::string text = to_text({{"announcement", announcement}});
    return text.size() < kMaxLiveMessageBytes / 2 ? text : "{}";
}

std::vector<AccountId> accounts_of(pqxx::transaction_base& transaction, const std::vector<std::string>& emails) {
    std::vector<AccountId> accounts;
    for (const auto& row : transaction.exec_params(
             "select account_id from users where email in (select jsonb_array_elements_text($1::jsonb))",
             sql_texts(emails))) {
        accounts.push_back(row[0].as<AccountId>());
    }
    return accounts;
}

}  // namespace

void apply_site_state(pqxx::transaction_base& transaction, const Settings& settings) {
    transaction.exec_params0("update site_state set low_balance_percent = $1, offers_mail = $2, offers_webhook = $3",
                             settings.notices.low_balance_percent, !settings.notices.mail.host.empty(),
                             !settings.notices.webhook_url.empty());
}

void tell_site_changes(const Services& services, const Settings& settings) {
    PgPool::Lease lease = services.postgres.acquire();
    pqxx::work transaction(*lease);
    const auto told =
        transaction.exec1("select announcement, to_jsonb(admins), admins is null from site_state for update");
    const std::vector<std::string> now = sorted(settings.admins);
    const bool first = told[2].as<bool>();
    std::vector<std::string> before;
    if (!first) before = read_texts(told[1]);
    const bool same_announcement = !told[0].is_null() && told[0].as<std::string>() == settings.app.announcement;
    if (!first && same_announcement && before == now) return;

    // Told before it is noted: a crash in between tells it again, which does no harm.
    RedisPool::Lease redis = services.redis.acquire();
    if (!first && !same_announcement) {
        tell_all_pages(*redis, {LiveEventKind::notice, announcement_text(settings.app.announcement)});
    }
    std::vector<std::string> changed;
    std::set_symmetric_difference(before.begin(), before.end(), now.begin(), now.end(), std::back_inserter(changed));
    LiveMessage end;
    end.ends_all = true;
    for (AccountId account : accounts_of(transaction, first ? std::vector<std::string>{} : changed)) {
        publish_live(*redis, account, end);
    }
    transaction.exec_params0(
        "update site_state set announcement = $1, admins = array(select jsonb_array_elements_text($2::jsonb))",
        settings.app.announcement, sql_texts(now));
    transaction.commit();
}

}  // namespace lumen::admind
