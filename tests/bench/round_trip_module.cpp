// The least that a gate can cost: nginx that asks Redis before it proxies and tells it afterwards, and does nothing
// else. It sends as many bytes as an admit and a settle have, what one turn of the event loop asks for in one write,
// and neither looks at the request nor at the answer. What the gate costs beyond this is its own doing; this is not.
//
//   round_trip /path/of/redis.sock;     in a location; one socket in a configuration
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "ngx_lumen_module/ngx.h"

extern ngx_module_t round_trip_module;

namespace {

constexpr std::size_t kAdmitBytes = 330;  // of the arguments of one, as redis-cli MONITOR shows them
constexpr std::size_t kSettleBytes = 300;
constexpr std::size_t kMostInCall = 16;
constexpr std::string_view kScript =
    "local r = {} for i = 1, #ARGV do r[i] = 'OK 4996513899 120000 0 - -' end return table.concat(r, '\\n')";

/// A request on its way; outlives it while its answer is.
struct Passage {
    ngx_http_request_t* r = nullptr;
    bool answered = false;
};

/// One connection to Redis: calls go out at the end of a turn, answers come in their order.
struct Link {
    ngx_connection_t* connection = nullptr;
    std::string sha;
    std::string out;
    std::string in;
    std::vector<Passage*> turn;               ///< asked for in this turn; null: nobody waits for it
    std::deque<std::vector<Passage*>> calls;  ///< under way
    std::size_t argument_bytes = 0;
    ngx_event_t flush{};
};

struct LocationConf {
    ngx_str_t socket;
};
ngx_str_t socket_path;
std::array<Link, 2> links;  // admits, settles

LocationConf& conf_of(const ngx_http_request_t* r) {
    return *static_cast<LocationConf*>(ngx_http_get_module_loc_conf(r, round_trip_module));
}

void append_argument(std::string& out, std::string_view text) {
    out.append("$").append(std::to_string(text.size())).append("\r\n").append(text).append("\r\n");
}

void send_turn(Link& link) {
    static const std::string arguments(std::max(kAdmitBytes, kSettleBytes), 'a');
    for (std::size_t at = 0; at < link.turn.size(); at += kMostInCall) {
        const std::size_t count = std::min(kMostInCall, link.turn.size() - at);
        link.out.append("*").append(std::to_string(3 + count)).append("\r\n");
        append_argument(link.out, "EVALSHA");
        append_argument(link.out, link.sha);
        append_argument(link.out, "0");
        for (std::size_t i = 0; i < count; ++i)
            append_argument(link.out, std::string_view(arguments).substr(0, link.argument_bytes));
        const auto first = link.turn.begin() + static_cast<std::ptrdiff_t>(at);
        link.calls.emplace_back(first, first + static_cast<std::ptrdiff_t>(count));
    }
    link.turn.clear();
}

void write_out(Link& link) {
    while (!link.out.empty()) {
        const ssize_t sent =
            link.connection->send(link.connection, reinterpret_cast<u_char*>(link.out.data()), link.out.size());
        if (sent <= 0) {
            (void)ngx_handle_write_event(link.connection->write, 0);
            return;
        }
        link.out.erase(0, static_cast<std::size_t>(sent));
    }
}

void on_flush(ngx_event_t* event) {
    Link& link = *static_cast<Link*>(event->data);
    send_turn(link);
    write_out(link);
}

void on_writable(ngx_event_t* event) {
    write_out(*static_cast<Link*>(static_cast<ngx_connection_t*>(event->data)->data));
}

void go_on(Passage* passage) {
    if (passage == nullptr) return;
    passage->answered = true;
    ngx_http_request_t* r = passage->r;
    if (r == nullptr) {
        delete passage;
        return;
    }
    ngx_connection_t* connection = r->connection;
    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(connection);
}

/// Whole answers that have come: `$bytes CRLF text CRLF`.
void take_answers(Link& link) {
    std::size_t at = 0;
    while (at < link.in.size()) {
        const std::size_t line = link.in.find("\r\n", at);
        std::size_t bytes = 0;
        if (line == std::string::npos) break;
        if (link.in[at] == '$') std::from_chars(link.in.data() + at + 1, link.in.data() + line, bytes);
        if (link.in.size() < line + 2 + bytes + 2) break;
        at = line + 2 + bytes + 2;
        const std::vector<Passage*> call = std::move(link.calls.front());
        link.calls.pop_front();
        for (Passage* passage : call) go_on(passage);
    }
    link.in.erase(0, at);
}

void on_readable(ngx_event_t* event) {
    auto* connection = static_cast<ngx_connection_t*>(event->data);
    Link& link = *static_cast<Link*>(connection->data);
    std::array<u_char, 16384> bytes;
    for (;;) {
        const ssize_t got = connection->recv(connection, bytes.data(), bytes.size());
        if (got <= 0) break;
        link.in.append(reinterpret_cast<char*>(bytes.data()), static_cast<std::size_t>(got));
        if (static_cast<std::size_t>(got) < bytes.size()) break;
    }
    (void)ngx_handle_read_event(event, 0);
    take_answers(link);
}

void ask(Link& link, Passage* passage) {
    link.turn.push_back(passage);
    ngx_post_event(&link.flush, &ngx_posted_events);
}

void on_body(ngx_http_request_t* r) {
    r->preserve_body = 1;
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;
    ask(links[0], static_cast<Passage*>(ngx_http_get_module_ctx(r, round_trip_module)));
}

void end_passage(void* data) {
    auto* passage = static_cast<Passage*>(data);
    passage->r = nullptr;
    if (passage->answered) delete passage;
}

ngx_int_t before_proxy(ngx_http_request_t* r) {
    if (r != r->main || conf_of(r).socket.len == 0) return NGX_DECLINED;
    if (const auto* known = static_cast<Passage*>(ngx_http_get_module_ctx(r, round_trip_module)))
        return known->answered ? NGX_DECLINED : NGX_DONE;
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(r->pool, 0);
    if (cleanup == nullptr) return NGX_HTTP_INTERNAL_SERVER_ERROR;
    auto* passage = new Passage{r, false};
    *cleanup = {end_passage, passage, cleanup->next};
    ngx_http_set_ctx(r, passage, round_trip_module);
    const ngx_int_t rc = ngx_http_read_client_request_body(r, on_body);
    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) return rc;
    ngx_http_finalize_request(r, NGX_DONE);
    return NGX_DONE;
}

ngx_int_t afterwards(ngx_http_request_t* r) {
    if (ngx_http_get_module_ctx(r, round_trip_module) != nullptr) ask(links[1], nullptr);
    return NGX_OK;
}

/// Connects, and loads the script while nothing else runs yet.
bool open_link(Link& link, ngx_cycle_t* cycle) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    lumen::view(socket_path).copy(address.sun_path, sizeof address.sun_path - 1);
    if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return false;
    std::string load = "*3\r\n";
    for (const std::string_view argument : {std::string_view("SCRIPT"), std::string_view("LOAD"), kScript})
        append_argument(load, argument);
    std::array<char, 256> answer{};
    if (write(fd, load.data(), load.size()) != static_cast<ssize_t>(load.size())) return false;
    if (read(fd, answer.data(), answer.size()) < 47 || answer[0] != '$') return false;
    link.sha.assign(answer.data() + 5, 40);
    if (ngx_nonblocking(fd) == -1) return false;
    link.connection = ngx_get_connection(fd, cycle->log);
    if (link.connection == nullptr) return false;
    ngx_connection_t& connection = *link.connection;
    connection.data = &link;
    connection.recv = ngx_recv;
    connection.send = ngx_send;
    connection.read->handler = on_readable;
    connection.write->handler = on_writable;
    connection.log = connection.read->log = connection.write->log = cycle->log;
    link.flush.handler = on_flush;
    link.flush.data = &link;
    link.flush.log = cycle->log;
    return ngx_handle_read_event(connection.read, 0) == NGX_OK;
}

ngx_int_t init_process(ngx_cycle_t* cycle) {
    if (socket_path.len == 0) return NGX_OK;
    links[0].argument_bytes = kAdmitBytes;
    links[1].argument_bytes = kSettleBytes;
    for (Link& link : links) {
        if (open_link(link, cycle)) continue;
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno, "round_trip: Redis cannot be reached at %V", &socket_path);
        return NGX_ERROR;
    }
    return NGX_OK;
}

void exit_process(ngx_cycle_t*) {
    for (Link& link : links) {
        if (link.connection != nullptr) ngx_close_connection(link.connection);
    }
}

ngx_int_t add_handlers(ngx_conf_t* cf) {
    auto* core = static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module));
    auto* before = static_cast<ngx_http_handler_pt*>(ngx_array_push(&core->phases[NGX_HTTP_PRECONTENT_PHASE].handlers));
    auto* after = static_cast<ngx_http_handler_pt*>(ngx_array_push(&core->phases[NGX_HTTP_LOG_PHASE].handlers));
    if (before == nullptr || after == nullptr) return NGX_ERROR;
    *before = before_proxy;
    *after = afterwards;
    return NGX_OK;
}

void* create_location_conf(ngx_conf_t* cf) {
    return ngx_pcalloc(cf->pool, sizeof(LocationConf));
}

char* directive(ngx_conf_t* cf, ngx_command_t*, void* data) {
    static_cast<LocationConf*>(data)->socket = socket_path = static_cast<ngx_str_t*>(cf->args->elts)[1];
    return NGX_CONF_OK;
}

std::array<ngx_command_t, 2> commands = {{
    {ngx_string("round_trip"), NGX_HTTP_LOC_CONF | NGX_CONF_TAKE1, directive, NGX_HTTP_LOC_CONF_OFFSET, 0, nullptr},
    ngx_null_command,
}};

ngx_http_module_t context = {nullptr, add_handlers, nullptr, nullptr, nullptr, nullptr, create_location_conf, nullptr};

}  // namespace

ngx_module_t round_trip_module = {
    NGX_MODULE_V1, &context, commands.data(), NGX_HTTP_MODULE, nullptr, nullptr,
    init_process,  nullptr,  nullptr,         exit_process,    nullptr, NGX_MODULE_V1_PADDING,
};

// What nginx looks up in a dynamic module.
extern "C" {
__attribute__((visibility("default"))) ngx_module_t* ngx_modules[] = {&round_trip_module, nullptr};
__attribute__((visibility("default"))) char* ngx_module_names[] = {const_cast<char*>("round_trip_module"), nullptr};
__attribute__((visibility("default"))) char* ngx_module_order[] = {nullptr};
}
