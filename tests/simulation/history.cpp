#include "tests/simulation/history.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <set>

#include "tests/simulation/simulated_gate.h"

namespace lumen::simulation {

namespace {

constexpr int kSteps = 260;
constexpr int kHealingRounds = 400;
constexpr std::int64_t kStartMs = 1'750'000'000'000;
constexpr std::int64_t kHourMs = 3'600'000;
constexpr std::int64_t kReplayMs = 10'000;
constexpr std::int64_t kTrimAfterMs = 600'000;
// Of one bucket: their ids differ by 256.
constexpr std::array<AccountId, 3> kAccounts = {7, 263, 519};
constexpr std::int64_t kRate = 2'000;
constexpr std::int64_t kLimit = 20'000;

class History {
 public:
    History(std::uint64_t seed, Mutation mutation)
        : random_(seed),
          mutation_(mutation),
          redis_(std::make_unique<SimulatedRedis>(new_id())),
          server_(redis_.get()),
          wire_(server_, random_),
          admind_(book_, mutation, random_, [this] { return !healing_ && one_in(60); }) {
        const std::int64_t replay_ms = mutation == Mutation::no_replay ? 0 : kReplayMs;
        for (int i = 0; i < 2; ++i) gates_.push_back(std::make_unique<SimulatedGate>(wire_, random_, replay_ms));
        now_ms_ = kStartMs + static_cast<std::int64_t>(random_() % kHourMs);
        set_clocks();
        make_accounts();
        remember_image();
    }

    HistoryResult run() {
        try {
            for (int i = 0; i < kSteps; ++i) {
                advance();
                surviving_crashes([this] { step(); });
            }
            heal();
            check();
        } catch (const Violation& violation) {
            result_.broken = violation.what();
        }
        return result_;
    }

 private:
    bool one_in(std::uint64_t n) { return random_() % n == 0; }
    std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n)); }
    AccountId account() { return kAccounts[random_() % kAccounts.size()]; }
    std::string new_id() { return std::string(8, 'r') + std::to_string(ids_++); }
    std::int64_t hour() const { return now_ms_ / kHourMs; }

    template <class Work>
    void surviving_crashes(Work work) {
        try {
            work();
        } catch (const Crash&) {
            ++result_.faults;
        }
    }

    void set_clocks() {
        redis_->model.now_us = now_ms_ * 1000;
        if (abandoned_) abandoned_->model.now_us = now_ms_ * 1000;
    }
    void advance() {
        now_ms_ += one_in(60) ? below(2 * kHourMs) : one_in(15) ? below(120'000) : below(4'000);
        set_clocks();
    }

    void make_accounts() {
        for (const AccountId id : kAccounts) {
            BookWallet& wallet = book_.wallets[id];
            wallet.config.account = id;
            wallet.config.version = 1;
            wallet.config.limit = NanoCoins(kLimit);
            wallet.config.rate = NanoCoins(id == kAccounts[0] ? 0 : kRate);
            wallet.config.strict = id == kAccounts[1];
            wallet.config.policy = 1;
            wallet.config.unlimited = id == kAccounts[2] && one_in(3);
            wallet.last_refill_hour = wallet.rate_since_hour = hour();
            for (const KeyId key : {id * 10, id * 10 + 1}) {
                KeyConfig& config = book_.keys[key];
                config.key = key;
                config.account = id;
                config.version = 1;
            }
        }
        created_hour_ = hour();
        healing_ = true;  // nothing dies before the first account is there
        admind_.reconcile(*redis_);
        healing_ = false;
        for (const AccountId id : kAccounts) grant(id);
    }

    void grant(AccountId id) {
        const std::int64_t amount = 1 + below(6'000);
        const std::string idem_key = "g" + std::to_string(granted_.size());
        granted_[idem_key] = {id, amount};
        surviving_crashes([&] { admind_.grant(*redis_, id, amount, idem_key); });
    }

    // ---- what clients and operators do

    void step() {
        switch (below(22)) {
            case 0:
            case 1:
            case 2:
            case 3:
            case 4:
                request();
                break;
            case 5:
            case 6:
            case 7:
                gate().work();
                break;
            case 8:
            case 9:
            case 10:
                gate().settle();
                break;
            case 11:
                gate().replay(now_ms_);
                break;
            case 12:
            case 13:
                admind_.drain(abandoned_ && one_in(3) ? *abandoned_ : *redis_);
                break;
            case 14:
            case 15:
                if (!wire_.down) admind_.reconcile(*redis_);
                break;
            case 16:
                if (!wire_.down && now_ms_ - ready_since_ms() > 60'000) admind_.reap(*redis_);
                break;
            case 17:
                if (!wire_.down) one_in(2) ? admind_.refill(*redis_) : admind_.send_pending(*redis_);
                break;
            case 18:
                if (!wire_.down) admind_.trim(*redis_, kTrimAfterMs);
                break;
            case 19:
                if (one_in(3)) one_in(4) ? revoke() : grant(account());
                break;
            case 20:
                wire_.deliver_one();
                break;
            default:
                fault();
        }
        if (one_in(6)) remember_image();
    }

    SimulatedGate& gate() { return *gates_[random_() % gates_.size()]; }

    void request() {
        const AccountId id = account();
        const KeyId key = id * 10 + below(2);
        std::array<std::uint8_t, 10> bytes{};
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_());
        const std::string word = gate().begin(make_request_id(now_ms_, bytes), id, key, below(1'500));
        ++result_.requests;
        if (word == "OK" && revoked_.count(key) > 0) throw Violation("I9: admitted after the key was revoked");
        if (word == "NOKEY") throw Violation("a good key was answered NOKEY");
    }

    void revoke() {
        const AccountId id = account();
        const KeyId key = id * 10 + below(2);
        if (wire_.down) return;
        if (admind_.revoke(*redis_, key)) revoked_.insert(key);
    }

    /// Since when this process sees the bucket ready by the token it has.
    std::int64_t ready_since_ms() {
        const std::string token = redis_->ready() ? redis_->ready_token() : "";
        if (token.empty() || token != seen_token_) {
            seen_token_ = token;
            seen_token_ms_ = now_ms_;
        }
        return seen_token_ms_;
    }

    // ---- what befalls them

    struct Image {
        testing::LedgerModel model;
        std::int64_t epoch;
    };
    void remember_image() {
        // No image is older than the revocations that it would forget: those are waited for (WAIT, fsync always).
        images_.push_back({redis_->model, redis_->epoch});
        if (images_.size() > 12) images_.erase(images_.begin());
        books_.push_back({now_ms_, book_});
        while (books_.size() > 8 || now_ms_ - books_.front().first > kTrimAfterMs / 2) books_.erase(books_.begin());
    }

    /// Replay brings back what is younger, the book what is older: more than that may not be lost at once (§8).
    bool tail_is_young() const {
        for (const auto& [number, text] : redis_->events_after(book_.last_bseq, SIZE_MAX)) {
            if (parse_event(text)->at_ms <= now_ms_ - kReplayMs) return false;
        }
        return true;
    }

    void fault() {
        ++result_.faults;
        switch (below(9)) {
            case 0:  // workers killed
            case 1:
                gate().crash();
                break;
            case 2:  // Redis killed; all acknowledged writes are on disk
                restart_from({redis_->model, redis_->epoch});
                break;
            case 3:  // power cut under everysec: the newest image is on disk
                if (tail_is_young()) restart_from(images_.back());
                break;
            case 4:  // an old file was put back
                if (one_in(3) && tail_is_young()) restart_from(images_[random_() % images_.size()]);
                break;
            case 5:
                if (one_in(3) && tail_is_young()) redis_->flush_all();
                break;
            case 6:  // the replica, which has what it has, is promoted; the old master lives on, cut off
                if (tail_is_young()) fail_over(images_.back());
                break;
            case 7:
                wire_.down = !wire_.down;
                if (wire_.down) wire_.cut();
                break;
            case 8:  // the database comes back without its last commits, younger than trim_after
                if (one_in(3) && !books_.empty()) lose_commits(books_[random_() % books_.size()].second);
                break;
        }
    }

    void restart_from(Image image) {
        redis_->model = std::move(image.model);
        redis_->epoch = image.epoch;
        redis_->change_id(new_id());
        set_clocks();
        wire_.cut();
    }

    void fail_over(Image image) {
        abandoned_ = std::move(redis_);
        redis_ = std::make_unique<SimulatedRedis>(new_id());
        server_ = redis_.get();
        restart_from(std::move(image));
    }

    /// Rights are never lost by it here: revocations are repeated by their caller, who got no answer.
    void lose_commits(SimulatedBook older) {
        if (older.epoch != book_.epoch || older.operations.size() != book_.operations.size()) return;
        for (auto& [id, key] : older.keys) key = book_.keys.at(id);
        // A book that forgot a failover would drain an abandoned master as well: three faults at once, none of §8's.
        if (older.source != book_.source) return;
        if (redis_->first_bseq() > older.last_bseq + 1 || redis_->bseq() < book_.last_bseq) return;
        book_ = std::move(older);
    }

    // ---- the end

    bool at_rest() const {
        if (!redis_->ready() || redis_->bseq() != book_.last_bseq || !redis_->model.holds_hash().empty()) return false;
        for (const auto& one : gates_) {
            if (one->slots() > 0) return false;
        }
        return std::all_of(book_.operations.begin(), book_.operations.end(), [this](const BookOperation& operation) {
            return operation.opn <= book_.wallets.at(operation.account).opn;
        });
    }

    void heal() {
        healing_ = true;
        wire_.down = false;
        wire_.reliable = true;
        wire_.cut();
        for (int round = 0; round < kHealingRounds; ++round) {
            now_ms_ += 3'000;
            set_clocks();
            admind_.reconcile(*redis_);
            for (const auto& one : gates_) {
                one->finish_all();
                one->settle();
                one->replay(now_ms_);
            }
            if (now_ms_ - ready_since_ms() > 60'000) admind_.reap(*redis_);
            for (const auto& [idem_key, grant] : granted_) admind_.grant(*redis_, grant.first, grant.second, idem_key);
            admind_.drain(*redis_);
            if (at_rest()) return;
        }
        throw Violation("it does not come to rest");
    }

    void check() const {
        check_requests();
        check_wallets();
        check_rows();
    }

    void check_requests() const {
        std::map<std::string, std::int64_t> costs;
        std::map<std::string, int> usages;
        for (const BookRow& row : book_.rows) {
            if (row.kind != EventKind::usage && row.kind != EventKind::reap && row.kind != EventKind::correction)
                continue;
            costs[row.request] += row.cost;
            if (row.kind == EventKind::usage && ++usages[row.request] > 1)
                throw Violation("I5: two usage rows of " + row.request);
        }
        std::map<std::string, Told> told;
        for (const auto& one : gates_) told.insert(one->told.begin(), one->told.end());
        for (const auto& [request, cost] : costs) {
            const auto known = told.find(request);
            const std::int64_t wanted = known == told.end() ? 0 : known->second.cost.value_or(cost);
            if (cost != wanted) {
                throw Violation("I5: " + request + " was told " + std::to_string(wanted) + ", charged " +
                                std::to_string(cost));
            }
        }
        for (const auto& [request, fate] : told) {
            if (fate.cost && costs.count(request) == 0) throw Violation("I11: the settle of " + request + " is lost");
        }
    }

    void check_wallets() const {
        for (const AccountId id : kAccounts) {
            const BookWallet& wallet = book_.wallets.at(id);
            const auto fields = redis_->model.account_hash(id);
            const std::string name = "account " + std::to_string(id);
            if (fields.at("bal") != std::to_string(wallet.balance)) {
                throw Violation("I1: " + name + " has " + fields.at("bal") + " in redis, " +
                                std::to_string(wallet.balance) + " in the book");
            }
            if (fields.at("held") != "0" || fields.at("nh") != "0")
                throw Violation("I4: " + name + " holds " + fields.at("held") + " while nothing runs");
            std::int64_t expected = 0;
            std::int64_t spent = 0;
            std::int64_t refilled = 0;
            for (const BookRow& row : book_.rows) {
                if (row.account != id || row.kind == EventKind::late) continue;
                if (row.kind == EventKind::refill) refilled += row.delta;
                if (row.kind == EventKind::refill && row.balance_after > kLimit)
                    throw Violation("I12: refilled above the limit");
                expected += row.delta;
                spent += row.cost;
            }
            std::int64_t given = 0;
            for (const auto& [idem_key, grant] : granted_) given += grant.first == id ? grant.second : 0;
            const std::int64_t charged = wallet.config.unlimited ? 0 : spent;
            if (wallet.balance != expected) throw Violation("I2: " + name + " is not the sum of its rows");
            if (wallet.balance != given + refilled - charged)
                throw Violation("I13, I15: coins of " + name + " do not add up");
            if (wallet.spent != spent) throw Violation("I16: spent of " + name);
            if (refilled > wallet.config.rate.nano() * (hour() - created_hour_))
                throw Violation("I12: more hours than passed");
        }
    }

    void check_rows() const {
        std::map<AccountId, const BookRow*> last;
        std::int64_t bseq = 0;
        for (const BookRow& row : book_.rows) {
            if (row.bseq != ++bseq)
                throw Violation("I3: event " + std::to_string(row.bseq) + " where " + std::to_string(bseq) +
                                " belongs");
            if (row.kind == EventKind::late) continue;
            const BookRow* before = std::exchange(last[row.account], &row);
            if (row.seq != (before ? before->seq : 0) + 1 ||
                row.balance_after != (before ? before->balance_after : 0) + row.delta) {
                throw Violation("I2: event " + std::to_string(row.bseq) + " does not follow from the one before");
            }
        }
    }

    std::mt19937_64 random_;
    Mutation mutation_;
    int ids_ = 10;
    SimulatedBook book_;
    std::unique_ptr<SimulatedRedis> redis_;
    SimulatedRedis* server_;  ///< what the gates talk to
    std::unique_ptr<SimulatedRedis> abandoned_;
    Wire wire_;
    bool healing_ = false;
    SimulatedAdmind admind_;
    std::vector<std::unique_ptr<SimulatedGate>> gates_;
    std::int64_t now_ms_ = 0;
    std::int64_t created_hour_ = 0;
    std::string seen_token_;
    std::int64_t seen_token_ms_ = 0;
    std::vector<Image> images_;
    std::vector<std::pair<std::int64_t, SimulatedBook>> books_;
    std::map<std::string, std::pair<AccountId, std::int64_t>> granted_;
    std::set<KeyId> revoked_;
    HistoryResult result_;
};

}  // namespace

HistoryResult run_history(std::uint64_t seed, Mutation mutation) {
    return History(seed, mutation).run();
}

}  // namespace lumen::simulation
