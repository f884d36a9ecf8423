// The ring's promises, with real files, real kernel locks and processes that are really killed.
#include "ngx_lumen_module/ring_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <set>

namespace lumen {
namespace {

constexpr std::size_t kSlots = 64;
constexpr std::size_t kBytes = kRingHeaderBytes + kSlots * kRingSlotBytes;
constexpr std::int64_t kNow = 1'700'000'000'000;

/// A path of its own for each test, gone with it.
class RingFileTest : public testing::Test {
 protected:
    void SetUp() override {
        char name[] = "/tmp/lumen-ring-XXXXXX";
        ASSERT_NE(mkdtemp(name), nullptr);
        directory_ = name;
        path_ = directory_ + "/gate.ring";
    }
    void TearDown() override {
        unlink(path_.c_str());
        rmdir(directory_.c_str());
    }

    std::string prepare(std::size_t bytes = kBytes) {
        return prepare_ring_file(path_.c_str(), bytes, geteuid(), getegid());
    }
    std::unique_ptr<RingFile> worker() {
        std::string error;
        std::unique_ptr<RingFile> ring = RingFile::open(path_.c_str(), error);
        EXPECT_NE(ring, nullptr) << error;
        EXPECT_TRUE(ring->claim_worker());
        return ring;
    }
    std::unique_ptr<RingFile> prepared_worker() {
        EXPECT_EQ(prepare(), "");
        return worker();
    }
    /// Runs `body` as a worker of its own, which is then killed with its slots in hand.
    void killed_worker(const std::function<void(RingFile&)>& body) {
        const pid_t child = fork();
        ASSERT_NE(child, -1);
        if (child == 0) {
            body(*worker().release());
            raise(SIGKILL);
        }
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    void overwrite(off_t at, const void* bytes, std::size_t count) {
        const int fd = open(path_.c_str(), O_RDWR);
        ASSERT_EQ(pwrite(fd, bytes, count, at), static_cast<ssize_t>(count));
        close(fd);
    }

    std::string directory_;
    std::string path_;
};

RingRecord record_of(int number) {
    RingRecord record;
    record.request.text.fill('0');
    const std::string digits = std::to_string(number);
    std::copy(digits.begin(), digits.end(), record.request.text.begin());
    record.account = 1000 + number;
    record.key = 2000 + number;
    record.cost = NanoCoins(3000 + number);
    record.tokens = static_cast<std::uint64_t>(number);
    record.usage.model = 7;
    record.usage.endpoint = 8;
    record.usage.price = 9;
    record.usage.usage.input_tokens = 11;
    record.usage.usage.output_tokens = 12;
    record.usage.usage.reasoning_tokens = 5;
    record.usage.duration_ms = 13;
    record.usage.ttft_ms = 14;
    record.usage.source = UsageSource::continuous;
    record.usage.status = 200;
    return record;
}

TEST_F(RingFileTest, a_record_comes_back_as_it_was_written) {
    auto ring = prepared_worker();
    RingRecord written = record_of(1);
    const RingSlot slot = ring->reserve(written, kNow);
    ASSERT_TRUE(slot);
    EXPECT_EQ(ring->state(slot), SlotState::admitting);
    written.cost = NanoCoins(kMaxAmount);
    written.is_void = true;
    written.token = 0xABCDEF;
    written.settled_at_ms = 77;
    ring->write(slot, SlotState::settled, written);

    const std::optional<RingRecord> read = ring->read(slot);
    ASSERT_TRUE(read);
    EXPECT_EQ(ring->state(slot), SlotState::settled);
    EXPECT_EQ(read->request.view(), written.request.view());
    EXPECT_EQ(read->account, 1001);
    EXPECT_EQ(read->key, 2001);
    EXPECT_EQ(read->cost, kMaxAmount);
    EXPECT_TRUE(read->is_void);
    EXPECT_EQ(read->token, 0xABCDEFu);
    EXPECT_EQ(read->settled_at_ms, 77);
    EXPECT_EQ(encode_usage_record(read->usage).view(), encode_usage_record(written.usage).view());
}

TEST_F(RingFileTest, each_slot_is_given_once_and_a_full_ring_gives_none) {
    auto ring = prepared_worker();
    std::set<std::int32_t> given;
    for (std::size_t i = 0; i < kSlots; ++i) {
        const RingSlot slot = ring->reserve(record_of(static_cast<int>(i)), kNow);
        ASSERT_TRUE(slot);
        EXPECT_TRUE(given.insert(slot.index).second);
    }
    EXPECT_FALSE(ring->pressed(kNow));
    EXPECT_FALSE(ring->reserve(record_of(99), kNow));
    EXPECT_TRUE(ring->pressed(kNow));
    EXPECT_FALSE(ring->pressed(kNow + 10'000));

    ring->release(RingSlot{*given.begin()});
    EXPECT_EQ(ring->reserve(record_of(100), kNow).index, *given.begin());
}

TEST_F(RingFileTest, two_workers_never_hold_the_same_slot) {
    ASSERT_EQ(prepare(kRingHeaderBytes + 4096 * kRingSlotBytes), "");
    auto first = worker();
    auto second = worker();
    EXPECT_NE(first->worker(), second->worker());
    std::set<std::int32_t> given;
    for (int i = 0; i < 1000; ++i) {
        EXPECT_TRUE(given.insert(first->reserve(record_of(i), kNow).index).second);
        EXPECT_TRUE(given.insert(second->reserve(record_of(i), kNow).index).second);
    }
}

TEST_F(RingFileTest, what_a_killed_worker_held_is_taken_over_by_a_living_one_once) {
    auto survivor = prepared_worker();
    killed_worker([](RingFile& ring) {
        ring.reserve(record_of(1), kNow);
        ring.write(ring.reserve(record_of(2), kNow), SlotState::running, record_of(2));
        ring.write(ring.reserve(record_of(3), kNow), SlotState::settle, record_of(3));
        ring.write(ring.reserve(record_of(4), kNow), SlotState::settled, record_of(4));
    });
    const RingFile::Recovered found = survivor->recover();
    EXPECT_EQ(found.dead_workers.size(), 1u);
    EXPECT_EQ(found.torn, 0u);
    std::multiset<SlotState> states;
    std::set<AccountId> accounts;
    for (RingSlot slot : found.slots) {
        states.insert(survivor->state(slot));
        accounts.insert(survivor->read(slot)->account);
    }
    EXPECT_EQ(states, (std::multiset<SlotState>{SlotState::admitting, SlotState::running, SlotState::settle,
                                                SlotState::settled}));
    EXPECT_EQ(accounts, (std::set<AccountId>{1001, 1002, 1003, 1004}));
    EXPECT_TRUE(survivor->recover().slots.empty());
}

TEST_F(RingFileTest, free_slots_of_a_killed_worker_are_free_for_all_again) {
    auto survivor = prepared_worker();
    killed_worker([](RingFile& ring) { ring.release(ring.reserve(record_of(1), kNow)); });
    EXPECT_TRUE(survivor->recover().slots.empty());
    for (std::size_t i = 0; i < kSlots; ++i) {
        EXPECT_TRUE(survivor->reserve(record_of(static_cast<int>(i)), kNow)) << i;
    }
}

TEST_F(RingFileTest, a_living_worker_is_never_robbed) {
    auto ring = prepared_worker();
    int ready[2];
    int go[2];
    ASSERT_EQ(pipe(ready), 0);
    ASSERT_EQ(pipe(go), 0);
    const pid_t child = fork();
    if (child == 0) {
        auto mine = worker();
        const RingSlot slot = mine->reserve(record_of(1), kNow);
        char byte = slot ? 'y' : 'n';
        if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1) _exit(2);
        _exit(mine->state(slot) == SlotState::admitting ? 0 : 1);
    }
    char byte = 0;
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'y');
    const RingFile::Recovered found = ring->recover();
    EXPECT_TRUE(found.slots.empty());
    EXPECT_TRUE(found.dead_workers.empty());
    ASSERT_EQ(write(go[1], &byte, 1), 1);
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (int fd : {ready[0], ready[1], go[0], go[1]}) close(fd);
}

TEST_F(RingFileTest, all_workers_gone_the_next_start_finds_their_slots) {
    ASSERT_EQ(prepare(), "");
    killed_worker(
        [](RingFile& ring) { ring.write(ring.reserve(record_of(1), kNow), SlotState::running, record_of(1)); });
    ASSERT_EQ(prepare(), "") << "the same size is the same ring";
    auto next = worker();
    const RingFile::Recovered found = next->recover();
    ASSERT_EQ(found.slots.size(), 1u);
    EXPECT_EQ(next->read(found.slots[0])->cost, NanoCoins(3001));
}

// A worker is killed at random instructions while it writes; whatever it left must be one of the records it wrote.
void expect_same(const std::optional<RingRecord>& read, const RingRecord& written) {
    ASSERT_TRUE(read);
    EXPECT_EQ(read->request.view(), written.request.view());
    EXPECT_EQ(read->account, written.account);
    EXPECT_EQ(read->key, written.key);
    EXPECT_EQ(read->cost, written.cost);
    EXPECT_EQ(read->tokens, written.tokens);
    EXPECT_EQ(read->is_void, written.is_void);
    EXPECT_EQ(encode_usage_record(read->usage).view(), encode_usage_record(written.usage).view());
}

TEST_F(RingFileTest, progress_replaces_what_has_changed_and_leaves_the_rest) {
    auto ring = prepared_worker();
    RingRecord record = record_of(7);
    const RingSlot slot = ring->reserve(record, kNow);
    ring->write(slot, SlotState::running, record);
    record.cost = NanoCoins(77);
    record.tokens = 70 + 8;
    record.usage.usage.input_tokens = 70;
    record.usage.usage.output_tokens = 8;
    record.usage.source = UsageSource::continuous;
    record.usage.status = 206;
    record.usage.duration_ms = 9;
    record.usage.ttft_ms = 5;
    for (int times = 0; times < 3; ++times) {
        ring->write_progress(slot, {record.cost, record.usage.usage, record.usage.source, record.usage.status,
                                    record.usage.duration_ms, record.usage.ttft_ms});
        EXPECT_EQ(ring->state(slot), SlotState::running);
        expect_same(ring->read(slot), record);
    }
}

TEST_F(RingFileTest, killed_while_writing_leaves_one_of_the_records_written) {
    auto survivor = prepared_worker();
    for (int round = 0; round < 200; ++round) {
        const pid_t child = fork();
        ASSERT_NE(child, -1);
        if (child == 0) {
            auto* ring = worker().release();
            const RingSlot slot = ring->reserve(record_of(0), kNow);
            for (int i = 1;; ++i) {
                RingRecord record = record_of(0);
                record.usage.usage.input_tokens = 0;
                record.cost = NanoCoins(i);
                record.tokens = static_cast<std::uint64_t>(i);
                record.usage.usage.output_tokens = static_cast<std::uint64_t>(i);
                if (i % 2 != 0) {
                    ring->write(slot, SlotState::running, record);
                } else {
                    ring->write_progress(slot, {record.cost, record.usage.usage});
                }
            }
        }
        usleep(static_cast<useconds_t>(300 + round * 7));
        kill(child, SIGKILL);
        int status = 0;
        waitpid(child, &status, 0);
        const RingFile::Recovered found = survivor->recover();
        EXPECT_EQ(found.torn, 0u) << "round " << round;
        for (RingSlot slot : found.slots) {
            const std::optional<RingRecord> record = survivor->read(slot);
            ASSERT_TRUE(record);
            if (survivor->state(slot) == SlotState::running) {
                EXPECT_EQ(record->tokens, static_cast<std::uint64_t>(record->cost.nano()));
                EXPECT_EQ(record->usage.usage.output_tokens, record->tokens);
            }
            survivor->release(slot);
        }
    }
}

TEST_F(RingFileTest, a_torn_slot_is_counted_and_kept_and_never_handed_out) {
    auto survivor = prepared_worker();
    std::int32_t index = -1;
    killed_worker(
        [](RingFile& ring) { ring.write(ring.reserve(record_of(1), kNow), SlotState::settle, record_of(1)); });
    // The killed worker took the highest of its batch of free slots; find it by its content.
    std::ifstream file(path_, std::ios::binary);
    std::string content((std::istreambuf_iterator<char>(file)), {});
    const std::size_t at = content.find("1000000000000000000000000000000000");
    ASSERT_NE(at, std::string::npos);
    index = static_cast<std::int32_t>((at - kRingHeaderBytes) / kRingSlotBytes);
    const char flipped = 'X';
    overwrite(static_cast<off_t>(at), &flipped, 1);

    const RingFile::Recovered found = survivor->recover();
    EXPECT_EQ(found.torn, 1u);
    EXPECT_TRUE(found.slots.empty());
    EXPECT_EQ(survivor->state(RingSlot{index}), SlotState::torn);
    EXPECT_FALSE(survivor->read(RingSlot{index}));
    for (std::size_t i = 0; i + 1 < kSlots; ++i) EXPECT_NE(survivor->reserve(record_of(5), kNow).index, index);
    EXPECT_FALSE(survivor->reserve(record_of(5), kNow));
}

TEST_F(RingFileTest, another_size_is_refused_while_something_is_unsettled_and_made_anew_after) {
    ASSERT_EQ(prepare(), "");
    killed_worker(
        [](RingFile& ring) { ring.write(ring.reserve(record_of(1), kNow), SlotState::settle, record_of(1)); });
    EXPECT_NE(prepare(2 * kBytes).find("1 unsettled"), std::string::npos);
    {
        auto ring = worker();
        const RingFile::Recovered found = ring->recover();
        ASSERT_EQ(found.slots.size(), 1u);
        EXPECT_NE(prepare(2 * kBytes).find("in use"), std::string::npos);
        ring->write(found.slots[0], SlotState::settled, record_of(1));
    }
    EXPECT_EQ(prepare(2 * kBytes), "");
    EXPECT_EQ(worker()->slots(), (2 * kBytes - kRingHeaderBytes) / kRingSlotBytes);
}

TEST_F(RingFileTest, another_version_is_refused_while_something_is_unsettled) {
    ASSERT_EQ(prepare(), "");
    killed_worker([](RingFile& ring) { ring.reserve(record_of(1), kNow); });
    const std::uint32_t version = 99;
    overwrite(8, &version, sizeof version);
    EXPECT_NE(prepare().find("unsettled"), std::string::npos);
}

TEST_F(RingFileTest, a_file_of_somebody_else_is_left_alone) {
    std::ofstream(path_) << std::string(kBytes, 'x');
    EXPECT_NE(prepare().find("not a ring"), std::string::npos);
    std::ifstream file(path_);
    EXPECT_EQ(file.get(), 'x');
}

TEST_F(RingFileTest, a_making_that_was_interrupted_is_done_again) {
    std::ofstream(path_) << std::string(kBytes / 2, '\0');
    EXPECT_EQ(prepare(), "");
    EXPECT_EQ(worker()->slots(), kSlots);
}

TEST_F(RingFileTest, its_space_is_reserved_and_nobody_else_may_read_it) {
    ASSERT_EQ(prepare(), "");
    struct stat info {};
    ASSERT_EQ(stat(path_.c_str(), &info), 0);
    EXPECT_EQ(static_cast<std::size_t>(info.st_size), kBytes);
    EXPECT_GE(static_cast<std::size_t>(info.st_blocks) * 512, kBytes);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(RingFileTest, has_a_number_of_its_own_that_stays) {
    const std::uint64_t number = prepared_worker()->instance();
    EXPECT_NE(number, 0U);
    EXPECT_EQ(prepared_worker()->instance(), number) << "over a restart";

    const std::uint64_t none = 0;  // as gates left it that knew of no such number
    overwrite(static_cast<off_t>(kRingHeaderBytes - sizeof none), &none, sizeof none);
    const std::uint64_t given = prepared_worker()->instance();
    EXPECT_NE(given, 0U);
    EXPECT_EQ(prepared_worker()->instance(), given);

    unlink(path_.c_str());
    EXPECT_NE(prepared_worker()->instance(), given) << "of another file";
}

TEST_F(RingFileTest, one_worker_of_all_claims_a_look_in_each_period) {
    auto first = prepared_worker();
    auto second = worker();
    EXPECT_TRUE(first->claim_look(kNow, 900));
    EXPECT_FALSE(second->claim_look(kNow + 899, 900));
    EXPECT_TRUE(second->claim_look(kNow + 900, 900));
    EXPECT_FALSE(first->claim_look(kNow + 901, 900));
    EXPECT_TRUE(first->claim_look(kNow - 50'000, 900)) << "a clock set back must not stop the looks";
}

TEST_F(RingFileTest, the_load_of_a_killed_worker_is_forgotten) {
    auto survivor = prepared_worker();
    survivor->publish_load({3, 4, kNow + 5});
    killed_worker([](RingFile& ring) { ring.publish_load({10, 20, kNow}); });
    EXPECT_EQ(survivor->total_load().unsettled, 13u);
    EXPECT_EQ(survivor->total_load().oldest_settled_ms, kNow);
    survivor->recover();
    EXPECT_EQ(survivor->total_load().unsettled, 3u);
    EXPECT_EQ(survivor->total_load().settled, 4u);
    EXPECT_EQ(survivor->total_load().oldest_settled_ms, kNow + 5);
}

}  // namespace
}  // namespace lumen
