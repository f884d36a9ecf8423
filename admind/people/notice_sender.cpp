#include "admind/people/notice_sender.h"

#include <Poco/Logger.h>

#include <algorithm>
#include <utility>

#include "admind/people/outgoing_fetch.h"
#include "admind/settings/settings_values.h"
#include "admind/text/json.h"

namespace lumen::admind {

namespace {

constexpr std::size_t kLongestError = 300;

/// Takes the next one that is due and moves its next attempt away: 5 s, 15 s, 45 s … an hour, each a little by chance.
/// So a crash in mid-attempt repeats it, and a leader that does not know yet that it is none meets nothing to do.
constexpr const char* kClaim =
    "update notice_deliveries d set attempts = attempts + 1, next_at = now() + (0.8 + 0.4 * random())"
    " * least(interval '1 hour', interval '5 seconds' * power(3::float8, least(attempts, 10)))"
    " where id = (select id from notice_deliveries where state = 'pending' and channel = $1 and next_at <= now()"
    " order by next_at limit 1 for update skip locked) returning d.id";

constexpr const char* kDue =
    "select d.id, d.attempts, n.kind, (extract(epoch from n.at) * 1000)::bigint, n.account_id, coalesce(p.name, ''),"
    " u.id, u.name, u.email, n.balance, n.lim, a.rate,"
    " u.active and case d.channel when 'mail' then u.notice_mail else u.notice_webhook end"
    " from notice_deliveries d join notices n on n.id = d.notice_id join users u on u.id = d.user_id"
    " join accounts a on a.id = n.account_id left join projects p on p.account_id = n.account_id where d.id = $1";

DueNotice notice_of(const pqxx::row& row) {
    DueNotice notice;
    notice.delivery_id = row[0].as<std::string>();
    notice.attempt = row[1].as<int>();
    notice.kind = row[2].as<std::string>();
    notice.at_ms = row[3].as<std::int64_t>();
    notice.account = row[4].as<AccountId>();
    notice.project = row[5].as<std::string>();
    notice.user = row[6].as<std::int64_t>();
    notice.user_name = row[7].as<std::string>();
    notice.user_email = row[8].as<std::string>();
    notice.balance = NanoCoins(row[9].as<std::int64_t>());
    notice.limit = NanoCoins(row[10].as<std::int64_t>());
    notice.refill_per_hour = NanoCoins(row[11].as<std::int64_t>());
    return notice;
}

/// The address is the administrator's own, so it may be a private one; it is that host alone.
FetchRules webhook_rules(const std::string& url) {
    FetchRules rules;
    if (const auto parsed = parse_web_url(url)) rules.hosts.push_back(parsed->host);
    for (std::string& host : rules.hosts) {
        std::transform(host.begin(), host.end(), host.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    }
    rules.addresses = FetchRules::Addresses::any;
    rules.schemes = FetchRules::Schemes::http_too;
    rules.most_bytes = std::size_t{64} * 1024;
    rules.timeout = kNoticeTimeout;
    return rules;
}

}  // namespace

void NoticeSender::send_due(const std::string& channel) {
    for (int i = 0; i < kNoticesPerRun && leader_.is_leader(); ++i) {
        const std::optional<DueNotice> notice = claim(channel);
        if (!notice) return;
        if (notice->delivery_id.empty()) continue;  // nobody wants it any more
        const Outcome outcome = deliver(channel, *notice);
        note(channel, *notice, outcome);
        if (outcome.receiver_away) return;
    }
}

std::optional<DueNotice> NoticeSender::claim(const std::string& channel) {
    PgPool::Lease lease = postgres_.acquire();
    pqxx::work transaction(*lease);
    const auto claimed = transaction.exec_params(kClaim, channel);
    if (claimed.empty() || !leader_.holds_term(transaction)) return std::nullopt;
    const auto row = transaction.exec_params1(kDue, claimed[0][0].as<std::string>());
    DueNotice notice = notice_of(row);
    if (!row[12].as<bool>()) {
        transaction.exec_params0("update notice_deliveries set state = 'dropped', done_at = now() where id = $1",
                                 notice.delivery_id);
        notice.delivery_id.clear();
    }
    transaction.commit();
    return notice;
}

NoticeSender::Outcome NoticeSender::deliver(const std::string& channel, const DueNotice& notice) const {
    const std::shared_ptr<const Settings> settings = settings_.current();
    const NoticeSettings& notices = settings->notices;
    Outcome outcome;
    if (channel == "mail" ? notices.mail.host.empty() : notices.webhook_url.empty()) {
        outcome.error = "not configured any more";
        outcome.receiver_away = true;
    } else if (channel == "mail") {
        const MailResult result =
            send_mail(notice_mail(notice, *settings), notices.mail, own_host(*settings), kNoticeTimeout);
        outcome = {result.sent, result.refused, !result.sent && !result.refused, result.error};
    } else {
        const std::string body = webhook_body(notice);
        const FetchRequest request{notices.webhook_url,
                                   webhook_headers(notice, body, notices.webhook_secret, unix_ms_now()), std::nullopt,
                                   body};
        const Fetched fetched = fetch(request, webhook_rules(notices.webhook_url));
        outcome.sent = fetched.ok();
        outcome.receiver_away = !fetched.ok();
        if (!fetched.ok()) {
            outcome.error = fetched.status == 0 ? fetched.error : "HTTP " + std::to_string(fetched.status);
        }
    }
    return outcome;
}

void NoticeSender::note(const std::string& channel, const DueNotice& notice, const Outcome& outcome) {
    const bool given_up = !outcome.sent && (outcome.hopeless || notice.attempt >= kMostNoticeAttempts);
    const std::string error = outcome.error.substr(0, kLongestError);
    PgPool::Lease lease = postgres_.acquire();
    pqxx::work transaction(*lease);
    transaction.exec_params0(
        "update notice_deliveries set state = $2, error = $3,"
        " done_at = case when $2 = 'pending' then null else now() end where id = $1 and state = 'pending'",
        notice.delivery_id, outcome.sent ? "sent" : (given_up ? "dead" : "pending"), error);
    transaction.commit();
    if (outcome.sent) {
        ++(channel == "mail" ? mails_sent_ : webhooks_sent_);
        return;
    }
    if (given_up) ++dead_;  // clean_up() counts them all
    ++failed_attempts_;
    Poco::Logger::get("notices").warning(channel + " notice=" + notice.delivery_id + " attempt=" +
                                         std::to_string(notice.attempt) + (given_up ? " given up: " : ": ") + error);
}

void NoticeSender::clean_up() {
    PgPool::Lease lease = postgres_.acquire();
    pqxx::work transaction(*lease);
    if (leader_.is_leader()) {
        transaction.exec_params0(
            "update notice_deliveries d set state = 'dead', done_at = now() from notices n"
            " where n.id = d.notice_id and d.state = 'pending' and n.at < now() - make_interval(hours => $1)",
            kNoticeLife.count());
        // Their deliveries go with them.
        transaction.exec_params0("delete from notices where at < now() - make_interval(hours => $1)",
                                 kNoticesKept.count());
    }
    const auto counts = transaction.exec1(
        "select (select count(*) from notice_deliveries where state = 'pending'),"
        " (select count(*) from notice_deliveries where state = 'dead')");
    transaction.commit();
    pending_ = counts[0].as<std::int64_t>();
    dead_ = counts[1].as<std::int64_t>();
}

NoticeMetrics NoticeSender::metrics() const {
    return {mails_sent_, webhooks_sent_, failed_attempts_, pending_, dead_};
}

}  // namespace lumen::admind
