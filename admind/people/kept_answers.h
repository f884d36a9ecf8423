// What other sites answered, kept for a while in this process: bounded in number and age, what failed too, and only a
// few fetches at a time, so that a slow site costs some pictures and no threads.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace lumen::admind {

struct KeptAnswersBounds {
    std::size_t most = 256;
    std::size_t most_fetches = 4;  ///< at once; the others are told that there is nothing
    std::chrono::seconds fresh{std::chrono::hours{24}};
    std::chrono::seconds failed{std::chrono::minutes{10}};
};

template <typename Value>
class KeptAnswers {
 public:
    using Clock = std::chrono::steady_clock;
    using Fetch = std::function<std::optional<Value>(const std::string& key)>;

    KeptAnswers(KeptAnswersBounds bounds, Fetch fetch) : bounds_(bounds), fetch_(std::move(fetch)) {}

    /// nullopt: it could not be had, or is on its way for somebody else.
    std::optional<Value> get(const std::string& key, Clock::time_point now) {
        {
            const std::lock_guard lock(mutex_);
            const auto found = kept_.find(key);
            if (found != kept_.end() && (found->second.until > now || found->second.on_its_way)) {
                return found->second.value;
            }
            if (fetching_ >= bounds_.most_fetches) return std::nullopt;
            make_room();
            ++fetching_;
            kept_[key].on_its_way = true;
        }
        std::optional<Value> value;
        try {
            value = fetch_(key);
        } catch (const std::exception&) {
            // As if the site had not answered.
        }
        const std::lock_guard lock(mutex_);
        --fetching_;
        Kept& kept = kept_[key];
        // What is old is better than nothing.
        if (value || !kept.value) kept.value = std::move(value);
        kept.until = now + (kept.value ? bounds_.fresh : bounds_.failed);
        kept.on_its_way = false;
        return kept.value;
    }

 private:
    struct Kept {
        std::optional<Value> value;
        Clock::time_point until{};
        bool on_its_way = false;
    };

    /// The one that ends first goes.
    void make_room() {
        if (kept_.size() < bounds_.most) return;
        auto first = kept_.end();
        for (auto it = kept_.begin(); it != kept_.end(); ++it) {
            if (!it->second.on_its_way && (first == kept_.end() || it->second.until < first->second.until)) first = it;
        }
        if (first != kept_.end()) kept_.erase(first);
    }

    const KeptAnswersBounds bounds_;
    const Fetch fetch_;
    std::mutex mutex_;
    std::unordered_map<std::string, Kept> kept_;
    std::size_t fetching_ = 0;
};

}  // namespace lumen::admind
