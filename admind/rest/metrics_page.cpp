#include "admind/rest/metrics_page.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace lumen::admind {

namespace {

void gauge(prometheus::Registry& registry, const char* name, const char* help, double value) {
    prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({}).Set(value);
}

void counter(prometheus::Registry& registry, const char* name, const char* help, std::uint64_t value) {
    prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({}).Increment(static_cast<double>(value));
}

void add_jobs(prometheus::Registry& registry, const std::vector<JobStatus>& jobs) {
    auto& runs = prometheus::BuildCounter().Name("lumen_job_runs_total").Help("Runs of each job.").Register(registry);
    auto& failures =
        prometheus::BuildCounter().Name("lumen_job_failures_total").Help("Runs that failed.").Register(registry);
    auto& success = prometheus::BuildGauge()
                        .Name("lumen_job_last_success_timestamp_seconds")
                        .Help("Unix time of the last good run; 0: never.")
                        .Register(registry);
    for (const JobStatus& job : jobs) {
        runs.Add({{"job", job.name}}).Increment(static_cast<double>(job.runs));
        failures.Add({{"job", job.name}}).Increment(static_cast<double>(job.failures));
        success.Add({{"job", job.name}}).Set(static_cast<double>(job.last_success_ms) / 1000);
    }
}

void add_notices(prometheus::Registry& registry, const NoticeMetrics& notices) {
    auto& sent = prometheus::BuildCounter()
                     .Name("lumen_notices_sent_total")
                     .Help("Notices of empty wallets that were taken by their receiver.")
                     .Register(registry);
    sent.Add({{"channel", "mail"}}).Increment(static_cast<double>(notices.mails_sent));
    sent.Add({{"channel", "webhook"}}).Increment(static_cast<double>(notices.webhooks_sent));
    counter(registry, "lumen_notice_failures_total", "Attempts to deliver a notice that failed.",
            notices.failed_attempts);
    gauge(registry, "lumen_notices_pending", "Notices still to be delivered.", static_cast<double>(notices.pending));
    gauge(registry, "lumen_notices_dead", "Notices of the last 30 days that were given up; notice_deliveries says why.",
          static_cast<double>(notices.dead));
}

}  // namespace

std::string metrics_text(const LedgerMetrics& ledger, const std::vector<JobStatus>& other_jobs, bool config_valid,
                         const NoticeMetrics& notices) {
    // A registry of the moment: the numbers are kept where they arise.
    prometheus::Registry registry;
    constexpr double kNanoPerCoin = 1e9;
    gauge(registry, "lumen_ledger_lag_seconds", "Age of the oldest event not yet in the book.", ledger.lag_seconds);
    gauge(registry, "lumen_ledger_pending", "Events not yet in the book.", static_cast<double>(ledger.pending));
    counter(registry, "lumen_ledger_drained_total", "Events written to the book.", ledger.drained);
    counter(registry, "lumen_refills_total", "Accounts credited by a refill.", ledger.refills);
    counter(registry, "lumen_holds_expired_total", "Holds ended past their deadline.", ledger.holds_expired);
    gauge(registry, "lumen_reconcile_drift_coins", "Difference between Redis and the book; never repaired silently.",
          static_cast<double>(ledger.drift.nano()) / kNanoPerCoin);
    gauge(registry, "lumen_reconcile_drift_accounts",
          "Accounts that Redis and the book disagree about; the log names them.",
          static_cast<double>(ledger.drift_accounts));
    gauge(registry, "lumen_buckets_not_ready", "Buckets of Redis out of service.", ledger.buckets_not_ready);
    gauge(registry, "lumen_leader", "1 for the one admind that refills, reaps, reconciles and probes.",
          ledger.leading ? 1 : 0);
    gauge(registry, "lumen_not_in_force", "Accounts and keys that Redis still has to be told.",
          static_cast<double>(ledger.not_in_force));
    gauge(registry, "lumen_ledger_alarms", "Things an operator must look at; the log names them.",
          static_cast<double>(ledger.alarms.size()));
    gauge(registry, "lumen_redis_settings_findings", "Settings of Redis that lose money (ledger.md 6.8).",
          static_cast<double>(ledger.redis_findings.size()));
    gauge(registry, "lumen_config_valid",
          "1: lumen.yaml as it was last read has no errors; 0: an older one is in force.", config_valid ? 1 : 0);
    add_notices(registry, notices);
    std::vector<JobStatus> jobs = ledger.jobs;
    jobs.insert(jobs.end(), other_jobs.begin(), other_jobs.end());
    add_jobs(registry, jobs);
    return prometheus::TextSerializer().Serialize(registry.Collect());
}

}  // namespace lumen::admind
