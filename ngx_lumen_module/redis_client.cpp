#include "ngx_lumen_module/redis_client.h"

#include <hiredis/async.h>

#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ngx_lumen_module/conf.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/redis_channels.h"
#include "ngx_lumen_module/redis_nodes.h"

namespace lumen {

namespace {
struct Lane;
}

struct RedisCall {
    Lane* lane = nullptr;
    RedisNode* node = nullptr;  ///< where it is under way
    int redirections = 0;
    RedisCallback callback = nullptr;  ///< null once answered or detached; the record lives until Redis has answered
    void* owner = nullptr;
    ngx_queue_t of_deadline{};  ///< in Lane::by_deadline
    bool has_deadline = false;
    ngx_msec_t deadline_at = 0;
    ngx_msec_t sent_at = 0;
    std::optional<Script> script;  ///< of an EVALSHA; none once it was repeated as EVAL
    Deployment deployment = Deployment::single;
    std::size_t head_bytes = 0;  ///< of the command: what EVAL replaces
    std::size_t command_bytes = 0;
    std::string command_memory;  ///< begins with the command as sent, kept for NOSCRIPT (T28)
};

namespace {

/// Longest buffer a free record keeps, which is that of a full call of admits or settles: a report or a long command
/// does not stay in memory for good.
constexpr std::size_t kKeptCommandBytes = 16384;
constexpr std::size_t kMaxConnectedCallbacks = 4;

struct Lane {
    RedisNodes nodes;
    /// Calls that are given up at some time, the soonest first. One timer watches the first: most calls are answered
    /// long before, and one of its own for each would be set and deleted for nothing.
    ngx_queue_t by_deadline{};
    ngx_event_t deadline{};
    std::array<void (*)(), kMaxConnectedCallbacks> on_connected{};
    std::vector<std::unique_ptr<RedisCall>> free_calls;
};

/// A worker's Redis: made and ended with the process.
struct Client {
    ngx_log_t* log = nullptr;
    std::array<Lane, 2> lanes;
};
Client* client = nullptr;

Lane* lane_of(RedisLane lane) noexcept {
    return client != nullptr ? &client->lanes[static_cast<std::size_t>(lane)] : nullptr;
}

// ---- commands as Redis reads them ----------------------------------------------------------------------------------

/// The most that an argument takes beside its own bytes: `$`, a length, two line ends.
constexpr std::size_t kMarkBytes = 1 + 20 + 2 + 2;

char* put_line_end(char* at) noexcept {
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

char* put_number(char* at, char mark, std::size_t number) noexcept {
    *at++ = mark;
    return put_line_end(std::to_chars(at, at + 20, number).ptr);
}

char* put_argument(char* at, std::string_view argument) noexcept {
    at = put_number(at, '$', argument.size());
    if (!argument.empty()) std::memcpy(at, argument.data(), argument.size());
    return put_line_end(at + argument.size());
}

/// The command of `count` arguments, in one piece, and where the first `head` of them end. Two commands of twenty
/// arguments are written for each request: so straight into memory that is known to suffice.
template <typename Argument>
void write_command(RedisCall& record, int count, int head, Argument&& argument) {
    std::size_t most = kMarkBytes;
    for (int i = 0; i < count; ++i) most += argument(i).size() + kMarkBytes;
    std::string& memory = record.command_memory;
    if (memory.size() < most) memory.resize(most);  // stays as long as it was, so that it is not cleared each time
    char* at = put_number(memory.data(), '*', static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
        if (i == head) record.head_bytes = static_cast<std::size_t>(at - memory.data());
        at = put_argument(at, argument(i));
    }
    record.command_bytes = static_cast<std::size_t>(at - memory.data());
}

void write_script_command(RedisCall& record, ScriptCall& call) {
    constexpr int kHead = 2;  // EVALSHA and the script's SHA-1
    record.script = call.script();
    write_command(record, call.argc(), kHead, [&call](int i) {
        const auto at = static_cast<std::size_t>(i);
        return std::string_view(call.argv()[at], call.argv_lengths()[at]);
    });
}

void turn_into_eval(RedisCall& record) {
    const std::string_view script = script_text(*record.script, record.deployment);
    std::string& memory = record.command_memory;
    memory.resize(record.command_bytes);
    const std::size_t count_end = memory.find('\r') + 2;
    std::string eval = memory.substr(0, count_end);
    eval.resize(count_end + 2 * kMarkBytes + 4 + script.size());
    char* const end = put_argument(put_argument(eval.data() + count_end, "EVAL"), script);
    eval.resize(static_cast<std::size_t>(end - eval.data()));
    memory.replace(0, record.head_bytes, eval);
    record.command_bytes = memory.size();
    record.script.reset();
}

// ---- one call ------------------------------------------------------------------------------------------------------

RedisCall* take_record(Lane& lane) {
    if (lane.free_calls.empty()) return new RedisCall;
    RedisCall* record = lane.free_calls.back().release();
    lane.free_calls.pop_back();
    return record;
}

void forget_deadline(RedisCall& record) noexcept {
    if (!std::exchange(record.has_deadline, false)) return;
    ngx_queue_remove(&record.of_deadline);
    // The timer stays for the next call, but must not hold back a worker that leaves (T56).
    Lane& lane = *record.lane;
    if (ngx_exiting && ngx_queue_empty(&lane.by_deadline) && lane.deadline.timer_set) {
        ngx_del_timer(&lane.deadline);
    }
}

RedisCall& call_of(ngx_queue_t* link) noexcept {
    return *ngx_queue_data(link, RedisCall, of_deadline);
}

/// `a` is before `b`, also when the clock of milliseconds has begun anew in between.
bool is_before(ngx_msec_t a, ngx_msec_t b) noexcept {
    return static_cast<ngx_msec_int_t>(a - b) < 0;
}

void set_deadline(Lane& lane, RedisCall& record, ngx_msec_t deadline_ms) noexcept {
    record.has_deadline = true;
    record.deadline_at = record.sent_at + deadline_ms;
    // Nearly always the last: they wait equally long.
    ngx_queue_t* after = ngx_queue_last(&lane.by_deadline);
    while (after != ngx_queue_sentinel(&lane.by_deadline) &&
           is_before(record.deadline_at, call_of(after).deadline_at)) {
        after = ngx_queue_prev(after);
    }
    ngx_queue_insert_after(after, &record.of_deadline);
    if (ngx_queue_head(&lane.by_deadline) == &record.of_deadline) ngx_add_timer(&lane.deadline, deadline_ms);
}

void give_back(RedisCall* record) {
    Lane& lane = *record->lane;
    forget_deadline(*record);
    record->callback = nullptr;
    record->owner = nullptr;
    record->script.reset();
    if (record->command_memory.size() > kKeptCommandBytes) std::string().swap(record->command_memory);
    lane.free_calls.emplace_back(record);
}

void answer(RedisCall& record, RedisResult result, std::string_view text) noexcept {
    forget_deadline(record);
    const RedisCallback callback = std::exchange(record.callback, nullptr);
    void* owner = std::exchange(record.owner, nullptr);
    if (callback == nullptr) return;
    guarded_void(client->log, "answer of Redis", [&] { callback(owner, result, text); });
}

// While calls are under way a silence timer runs. On the settles' lane it also keeps a leaving worker until they are
// answered, at most for its length (T56); what is not answered by then is in the ring.
void watch_silence(RedisNode& node) noexcept {
    if (node.under_way > 0) {
        ngx_add_timer(&node.silence, kLongestSilenceMs);
    } else if (node.silence.timer_set) {
        ngx_del_timer(&node.silence);
    }
}

void on_silence(ngx_event_t* event) {
    static_cast<RedisNode*>(event->data)->connection.drop("it answers nothing");
}

std::string_view text_of(const redisReply& reply, std::string& storage) {
    switch (reply.type) {
        case REDIS_REPLY_STRING:
        case REDIS_REPLY_STATUS:
        case REDIS_REPLY_ERROR:
            return {reply.str, static_cast<std::size_t>(reply.len)};
        case REDIS_REPLY_INTEGER:
            storage = std::to_string(reply.integer);
            return storage;
        case REDIS_REPLY_ARRAY:
            for (std::size_t i = 0; i < reply.elements; ++i) {
                std::string element;
                if (i > 0) storage.push_back(' ');
                const std::string_view text = text_of(*reply.element[i], element);
                storage.append(text.empty() ? std::string_view("-") : text);
            }
            return storage;
        default:
            return {};
    }
}

bool is_noscript(const redisReply& reply) noexcept {
    constexpr std::string_view kNoScript = "NOSCRIPT";
    return reply.type == REDIS_REPLY_ERROR && std::string_view(reply.str).substr(0, kNoScript.size()) == kNoScript;
}

void on_reply(redisAsyncContext* context, void* reply_data, void* record_data);

bool submit(RedisCall& record, redisAsyncContext* context) noexcept {
    return redisAsyncFormattedCommand(context, on_reply, &record, record.command_memory.data(), record.command_bytes) ==
           REDIS_OK;
}

void begin_at(RedisNode& node, RedisCall& record) noexcept {
    record.node = &node;
    if (node.under_way++ == 0) watch_silence(node);
}

/// Repeats what a node of a Cluster refused as not its own, at the one it named. false: there is none to ask.
bool follow(RedisCall& record, const redisReply& reply) noexcept {
    RedisNodes& nodes = record.lane->nodes;
    if (!nodes.clustered() || reply.type != REDIS_REPLY_ERROR || record.callback == nullptr) return false;
    const auto to = parse_redirection({reply.str, static_cast<std::size_t>(reply.len)});
    if (!to || ++record.redirections > kMostRedirections) return false;
    RedisNode* node = nodes.redirected(*to, *record.node);
    redisAsyncContext* context = node != nullptr && !node->stalled ? node->connection.ready() : nullptr;
    if (context == nullptr) return false;
    // Both leave together, so nothing comes in between.
    if (to->ask && redisAsyncCommand(context, nullptr, nullptr, "ASKING") != REDIS_OK) return false;
    if (!submit(record, context)) return false;
    begin_at(*node, record);
    return true;
}

/// What a Cluster's node cannot do for the moment, and has not done, is as if it were away.
bool is_pause(const RedisCall& record, const redisReply& reply) noexcept {
    if (!record.lane->nodes.clustered() || reply.type != REDIS_REPLY_ERROR) return false;
    const std::string_view text(reply.str, static_cast<std::size_t>(reply.len));
    return is_cluster_pause(text) || parse_redirection(text);
}

void on_reply(redisAsyncContext* context, void* reply_data, void* record_data) {
    auto* record = static_cast<RedisCall*>(record_data);
    if (client == nullptr) {  // the worker leaves, and nobody waits for this any more
        delete record;
        return;
    }
    const auto* reply = static_cast<const redisReply*>(reply_data);
    RedisNode& node = *record->node;

    if (reply != nullptr) {
        node.last_answer_at = ngx_current_msec;
        node.stalled = false;
        if (is_noscript(*reply) && record->script && record->callback != nullptr) {
            turn_into_eval(*record);
            if (submit(*record, context)) return;
            reply = nullptr;
        }
    }
    --node.under_way;
    watch_silence(node);
    if (reply != nullptr && follow(*record, *reply)) return;
    if (reply == nullptr || is_pause(*record, *reply)) {
        answer(*record, RedisResult::unavailable, {});
    } else {
        std::string storage;
        const bool failed = reply->type == REDIS_REPLY_ERROR;
        answer(*record, failed ? RedisResult::error : RedisResult::reply, text_of(*reply, storage));
    }
    give_back(record);
}

// The record stays: the late answer still brings its pointer (T27).
void give_up(RedisCall& record) noexcept {
    if (is_before(record.node->last_answer_at, record.sent_at)) record.node->stalled = true;
    answer(record, RedisResult::unavailable, {});
}

void on_deadline(ngx_event_t* event) {
    Lane& lane = *static_cast<Lane*>(event->data);
    while (!ngx_queue_empty(&lane.by_deadline)) {
        RedisCall& first = call_of(ngx_queue_head(&lane.by_deadline));
        if (is_before(ngx_current_msec, first.deadline_at)) {
            ngx_add_timer(&lane.deadline, first.deadline_at - ngx_current_msec);
            return;
        }
        give_up(first);
    }
}

RedisCall* send(Lane& lane, RedisCall* record, RedisNode& node, ngx_msec_t deadline_ms, RedisCallback callback,
                void* owner) noexcept {
    record->lane = &lane;
    record->redirections = 0;
    if (!submit(*record, node.connection.ready())) {
        give_back(record);
        return nullptr;
    }
    record->callback = callback;
    record->owner = owner;
    record->sent_at = ngx_current_msec;
    if (deadline_ms > 0) set_deadline(lane, *record, deadline_ms);
    begin_at(node, *record);
    return record;
}

/// The node that a key is on, if it can take one more call.
RedisNode* open_for_calls(Lane* lane, std::string_view key) noexcept {
    RedisNode* node = lane != nullptr ? lane->nodes.of_key(key) : nullptr;
    if (node == nullptr || node->under_way >= kMaxCallsInFlight) return nullptr;
    if (node->stalled || node->connection.ready() == nullptr) {
        lane->nodes.refresh();  // another may have its slots by now
        return nullptr;
    }
    return node;
}

// ---- connections ---------------------------------------------------------------------------------------------------

void on_lane_ready(void* data) {
    for (const auto callback : static_cast<Lane*>(data)->on_connected) {
        if (callback != nullptr) guarded_void(client->log, "Redis connected", callback);
    }
}

void start_lane(Lane& lane, const MainConf* conf, ngx_log_t* log, RedisLane which) {
    ngx_queue_init(&lane.by_deadline);
    lane.deadline.handler = on_deadline;
    lane.deadline.data = &lane;
    lane.deadline.log = log;  // not cancelable: a request that waits for Redis keeps its worker
    RedisNodes::Options options;
    options.conf = conf;
    options.log = log;
    options.purpose = which == RedisLane::requests ? "requests" : "settles";
    options.on_ready = on_lane_ready;
    options.on_silence = on_silence;
    options.silence_is_cancelable = which != RedisLane::settles;
    options.owner = &lane;
    lane.nodes.start(options);
}

}  // namespace

void detach(RedisCall* call) noexcept {
    if (call == nullptr) return;
    forget_deadline(*call);
    call->callback = nullptr;
    call->owner = nullptr;
}

ngx_int_t redis_init_process(ngx_cycle_t* cycle) {
    const MainConf* conf = main_conf(cycle);
    client = new Client;
    client->log = cycle->log;
    start_lane(client->lanes[0], conf, cycle->log, RedisLane::requests);
    start_lane(client->lanes[1], conf, cycle->log, RedisLane::settles);
    channels_init_process(conf, cycle->log);
    return NGX_OK;
}

void redis_exit_process(ngx_cycle_t*) {
    Client* leaving = std::exchange(client, nullptr);
    if (leaving == nullptr) return;
    for (Lane& lane : leaving->lanes) {
        if (lane.deadline.timer_set) {
            ngx_del_timer(&lane.deadline);
        }
        lane.nodes.stop();
    }
    channels_exit_process();
    delete leaving;
}

bool redis_up(RedisLane which) noexcept {
    const Lane* lane = lane_of(which);
    return lane != nullptr && lane->nodes.any_ready();
}

bool redis_complete(RedisLane which) noexcept {
    const Lane* lane = lane_of(which);
    return lane != nullptr && lane->nodes.all_ready();
}

bool redis_clustered() noexcept {
    return client != nullptr && client->lanes[0].nodes.clustered();
}

std::size_t redis_node_of(RedisLane which, Bucket bucket) noexcept {
    Lane* lane = lane_of(which);
    const RedisNode* node = lane != nullptr ? lane->nodes.of_key(bucket_key(bucket, "meta")) : nullptr;
    return node != nullptr ? node->index : 0;
}

RedisCall* redis_send(RedisLane which, ScriptCall& call, ngx_msec_t deadline_ms, RedisCallback callback, void* owner) {
    constexpr int kFirstKey = 3;  // EVALSHA sha1 numkeys
    Lane* lane = lane_of(which);
    if (call.overflowed()) return nullptr;
    RedisNode* node = open_for_calls(lane, {call.argv()[kFirstKey], call.argv_lengths()[kFirstKey]});
    if (node == nullptr) return nullptr;
    const Deployment deployment = lane->nodes.clustered() ? Deployment::cluster : Deployment::single;
    if (deployment == Deployment::cluster) call.send_to(deployment);
    RedisCall* record = take_record(*lane);
    write_script_command(*record, call);
    record->deployment = deployment;
    return send(*lane, record, *node, deadline_ms, callback, owner);
}

RedisCall* redis_command(RedisLane which, const std::string_view* arguments, int count, ngx_msec_t deadline_ms,
                         RedisCallback callback, void* owner, std::string_view beside) {
    Lane* lane = lane_of(which);
    const std::string_view key =
        routing_key(arguments[0], count > 1 ? arguments[1] : std::string_view(), std::string_view());
    RedisNode* node = open_for_calls(lane, key.empty() ? beside : key);
    if (node == nullptr) return nullptr;
    RedisCall* record = take_record(*lane);
    write_command(*record, count, 0, [arguments](int i) { return arguments[i]; });
    return send(*lane, record, *node, deadline_ms, callback, owner);
}

void redis_on_connected(RedisLane which, void (*callback)()) {
    Lane* lane = lane_of(which);
    if (lane == nullptr) return;
    for (auto& slot : lane->on_connected) {
        if (slot != nullptr) continue;
        slot = callback;
        return;
    }
}

}  // namespace lumen
