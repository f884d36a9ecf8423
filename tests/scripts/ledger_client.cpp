#include "tests/scripts/ledger_client.h"

#include <stdexcept>

namespace lumen::testing {
namespace {

constexpr std::string_view kTimeCall = "redis.call('TIME')";
// Every script's first key is of the bucket, so the clock lies beside it: {bNNN}:meta → {bNNN}:clock.
constexpr std::string_view kFixedTime = "redis.call('HMGET', string.sub(KEYS[1], 1, 7) .. 'clock', 's', 'us')";

std::string text_for(Script script, Clock clock) {
    std::string text(script_text(script));
    if (clock == Clock::fixed) {
        const std::size_t at = text.find(kTimeCall);
        if (at != std::string::npos) text.replace(at, kTimeCall.size(), kFixedTime);
        if (text.find("'TIME'") != std::string::npos) throw std::logic_error("a script reads the clock twice");
    }
    return text;
}

std::string text_of(const redisReply* reply) {
    switch (reply->type) {
        case REDIS_REPLY_INTEGER:
            return std::to_string(reply->integer);
        case REDIS_REPLY_NIL:
            return "(nil)";
        default:
            return {reply->str, reply->str + reply->len};
    }
}

std::string in_words(const std::optional<RateStanding>& rate) {
    if (!rate) return " -";
    return ' ' + std::to_string(rate->limit) + '/' + std::to_string(rate->remaining) + '/' +
           std::to_string(rate->reset_us);
}

std::string with_rates_in_words(std::string_view lines) {
    constexpr std::string_view kAgain = " again";
    std::string text;
    while (!lines.empty()) {
        const std::string_view line = next_reply_line(lines);
        const LedgerReply reply = parse_reply(Script::admit, line);
        if (!text.empty()) text += '\n';
        if (reply.reply == Reply::held || reply.reply == Reply::concurrency) {
            text += reply.reply == Reply::held ? "HELD" : "CONC";  // what is left of the rates: the module's tests
            continue;
        }
        if (reply.reply != Reply::ok && reply.reply != Reply::rpm && reply.reply != Reply::tpm) {
            text += line;
            continue;
        }
        const char* const word = reply.reply == Reply::ok ? "OK " : reply.reply == Reply::rpm ? "RPM " : "TPM ";
        text += line.substr(line.rfind(word));
        if (reply.again) text.erase(text.size() - kAgain.size());
        text += in_words(reply.requests) + in_words(reply.tokens);
        if (reply.again) text += kAgain;
    }
    return text;
}

}  // namespace

LedgerClient::LedgerClient(const std::string& socket_path, Clock clock)
    : context_(redisConnectUnix(socket_path.c_str()), redisFree), clock_(clock) {
    if (!context_ || context_->err) throw std::runtime_error("cannot connect to " + socket_path);
    for (int i = 0; i < kScripts; ++i) {
        sha1_[static_cast<std::size_t>(i)] = command({"SCRIPT", "LOAD", text_for(static_cast<Script>(i), clock)});
    }
}

LedgerClient::OwnedReply LedgerClient::send(int argc, const char** argv, const std::size_t* lengths) {
    void* reply = redisCommandArgv(context_.get(), argc, argv, lengths);
    if (!reply) throw std::runtime_error(std::string("Redis went away: ") + context_->errstr);
    return {static_cast<redisReply*>(reply), freeReplyObject};
}

LedgerClient::OwnedReply LedgerClient::send(const std::vector<std::string>& words) {
    std::vector<const char*> argv;
    std::vector<std::size_t> lengths;
    for (const std::string& word : words) {
        argv.push_back(word.data());
        lengths.push_back(word.size());
    }
    return send(static_cast<int>(argv.size()), argv.data(), lengths.data());
}

void LedgerClient::aim_at_loaded_script(ScriptCall& call) {
    if (call.overflowed()) throw std::logic_error("a call does not fit");
    if (clock_ == Clock::fixed) call.argv()[1] = sha1_[static_cast<std::size_t>(call.script())].data();
}

std::string LedgerClient::answer(ScriptCall& call) {
    aim_at_loaded_script(call);
    return text_of(send(call.argc(), call.argv(), call.argv_lengths()).get());
}

std::string LedgerClient::run(ScriptCall& call) {
    const std::string text = answer(call);
    return call.script() == Script::admit ? with_rates_in_words(text) : text;
}

LedgerReply LedgerClient::reply(ScriptCall& call) {
    LedgerReply reply = parse_reply(call.script(), answer(call));
    reply.token = {};  // the text it pointed into is gone
    return reply;
}

void LedgerClient::append(ScriptCall& call) {
    aim_at_loaded_script(call);
    redisAppendCommandArgv(context_.get(), call.argc(), call.argv(), call.argv_lengths());
}

std::string LedgerClient::next() {
    void* reply = nullptr;
    if (redisGetReply(context_.get(), &reply) != REDIS_OK) throw std::runtime_error("Redis went away");
    return text_of(OwnedReply(static_cast<redisReply*>(reply), freeReplyObject).get());
}

std::string LedgerClient::command(const std::vector<std::string>& words) {
    return text_of(send(words).get());
}

std::vector<std::string> LedgerClient::list(const std::vector<std::string>& words) {
    const OwnedReply reply = send(words);
    std::vector<std::string> items;
    for (std::size_t i = 0; i < reply->elements; ++i) items.push_back(text_of(reply->element[i]));
    return items;
}

std::map<std::string, std::string> LedgerClient::hash(const std::string& key) {
    const std::vector<std::string> items = list({"HGETALL", key});
    std::map<std::string, std::string> fields;
    for (std::size_t i = 0; i + 1 < items.size(); i += 2) fields[items[i]] = items[i + 1];
    return fields;
}

std::vector<std::string> LedgerClient::events(Bucket bucket) {
    const OwnedReply reply = send({"XRANGE", bucket_key(bucket, "events"), "-", "+"});
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < reply->elements; ++i) {
        const redisReply* entry = reply->element[i];
        const std::string id = std::to_string(i + 1) + "-0";
        if (text_of(entry->element[0]) != id) throw std::runtime_error("the stream has a gap before " + id);
        const redisReply* fields = entry->element[1];
        if (fields->elements != 2 || text_of(fields->element[0]) != "e") throw std::runtime_error("not one field `e`");
        texts.push_back(text_of(fields->element[1]));
    }
    return texts;
}

std::string LedgerClient::replication_id() {
    const std::string info = command({"INFO", "replication"});
    constexpr std::string_view kName = "master_replid:";
    return info.substr(info.find(kName) + kName.size(), 40);
}

std::string LedgerClient::make_ready(Bucket bucket, const std::string& nonce) {
    run(BeginRebuildCall(bucket, nonce));
    const std::string id = replication_id();
    if (const std::string text = run(MarkReadyCall(bucket, nonce, id)); text != "OK") {
        throw std::runtime_error("mark_ready answered " + text);
    }
    return id + ':' + nonce;
}

void LedgerClient::set_clock(Bucket bucket, std::int64_t unix_us) {
    command({"HSET", bucket_key(bucket, "clock"), "s", std::to_string(unix_us / 1'000'000), "us",
             std::to_string(unix_us % 1'000'000)});
}

}  // namespace lumen::testing
