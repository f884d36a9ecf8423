// A drainer and nothing else, to be killed: ledger_drainer DATABASE_URL REDIS_URL. Says "ready" once it drains.
#include <csignal>
#include <cstdio>
#include <thread>

#include "admind/ledger/ledger_book.h"
#include "admind/ledger/ledger_sync.h"
#include "admind/ledger/stream_trim.h"

int main(int argc, char** argv) {
    using namespace lumen::admind;
    if (argc != 3) return 64;
    std::signal(SIGPIPE, SIG_IGN);
    PgPool postgres(argv[1], 4, std::chrono::seconds(5));
    RedisPool links(argv[2], 2, std::chrono::seconds(20));
    LedgerBook book(postgres, links);
    LedgerSync sync(postgres, argv[2], std::chrono::seconds(20), book);
    for (;;) {
        try {
            const DrainResult result = sync.drain(std::chrono::milliseconds(100));
            for (const std::string& alarm : result.alarms) {
                std::fprintf(stderr, "%s\n", alarm.c_str());
                return 1;
            }
            if (result.events == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        } catch (const std::exception& error) {
            std::fprintf(stderr, "%s\n", error.what());
        }
    }
}
