// Empties the outbox of notices, on the leader: at least once, each attempt under the delivery's id, with a growing
// pause, for a day at most. What could not be delivered by then is dead: kept, counted, and an operator's to see.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "admind/people/notice_texts.h"
#include "admind/settings/live_settings.h"
#include "admind/stores/leader.h"
#include "admind/stores/pg_pool.h"

namespace lumen::admind {

inline constexpr std::chrono::seconds kNoticeTimeout{10};  ///< one attempt, all of it
inline constexpr int kMostNoticeAttempts = 30;             ///< with the pauses below: about a day
inline constexpr std::chrono::hours kNoticeLife{24};       ///< an older one is no news
inline constexpr std::chrono::hours kNoticesKept{30 * 24};
inline constexpr int kNoticesPerRun = 20;  ///< so that stop() waits for few

struct NoticeMetrics {
    std::uint64_t mails_sent = 0;  ///< lumen_notices_sent_total{channel}, by this process
    std::uint64_t webhooks_sent = 0;
    std::uint64_t failed_attempts = 0;  ///< lumen_notice_failures_total
    std::int64_t pending = 0;           ///< lumen_notices_pending
    std::int64_t dead = 0;              ///< lumen_notices_dead: in the last 30 days
};

class NoticeSender {
 public:
    NoticeSender(PgPool& postgres, const LiveSettings& settings, const Leader& leader)
        : postgres_(postgres), settings_(settings), leader_(leader) {}

    /// Jobs of their own, so that a mail server that hangs holds up no webhook.
    void send_mails() { send_due("mail"); }
    void send_webhooks() { send_due("webhook"); }
    /// Gives up what is too old, forgets what is long done, and counts.
    void clean_up();

    NoticeMetrics metrics() const;

 private:
    struct Outcome {
        bool sent = false;
        bool hopeless = false;       ///< no attempt will ever be taken
        bool receiver_away = false;  ///< others would fare no better now
        std::string error;
    };
    void send_due(const std::string& channel);
    std::optional<DueNotice> claim(const std::string& channel);
    Outcome deliver(const std::string& channel, const DueNotice& notice) const;
    void note(const std::string& channel, const DueNotice& notice, const Outcome& outcome);

    PgPool& postgres_;
    const LiveSettings& settings_;
    const Leader& leader_;
    std::atomic<std::uint64_t> mails_sent_{0};
    std::atomic<std::uint64_t> webhooks_sent_{0};
    std::atomic<std::uint64_t> failed_attempts_{0};
    std::atomic<std::int64_t> pending_{0};
    std::atomic<std::int64_t> dead_{0};
};

}  // namespace lumen::admind
