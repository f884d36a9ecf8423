#include "ngx_lumen_module/conf.h"

#include <cstring>
#include <optional>

#include "lumen_core/api_key.h"
#include "ngx_lumen_module/settle_ring.h"
#include "ngx_lumen_module/shared_zone.h"

namespace lumen {
namespace {

constexpr const char* kDefaultZone = "lumen";
constexpr std::size_t kDefaultZoneBytes = 32 * 1024 * 1024;
constexpr const char* kDefaultRing = "/var/lib/lumen/gate.ring";
constexpr std::size_t kDefaultRingBytes = 64 * 1024 * 1024;
constexpr std::size_t kSmallestRingBytes = 64 * 1024;
constexpr ngx_msec_t kDefaultReplayMs = 10'000;
constexpr const char* kDefaultRedis = "unix:/run/lumen/redis.sock";
constexpr ngx_msec_t kDefaultRedisTimeoutMs = 1'000;
constexpr const char* kDefaultSecretFile = "/etc/lumen/installation.secret";
constexpr ngx_uint_t kDefaultTries = 3;
constexpr ngx_msec_t kDefaultDrainMs = 5'000;
constexpr ngx_uint_t kPaymentRequired = 402;  // nginx has no name for it
/// Longer files are not secrets but mistakes.
constexpr std::size_t kMaxSecretBytes = 4096;
constexpr in_port_t kRedisPort = 6379;

template <typename... Arguments>
char* fail(ngx_conf_t* cf, const char* format, Arguments... arguments) {
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, format, arguments...);
    return static_cast<char*>(NGX_CONF_ERROR);
}

ngx_str_t constant(const char* text) noexcept {
    return {std::strlen(text), reinterpret_cast<u_char*>(const_cast<char*>(text))};
}

ngx_str_t* argument(ngx_conf_t* cf, ngx_uint_t index) noexcept {
    return static_cast<ngx_str_t*>(cf->args->elts) + index;
}

/// The rest of `text` after `prefix`, if it starts with it.
std::optional<ngx_str_t> after(const ngx_str_t& text, std::string_view prefix) noexcept {
    if (view(text).substr(0, prefix.size()) != prefix) return std::nullopt;
    return ngx_str_t{text.len - prefix.size(), text.data + prefix.size()};
}

bool parse_size(ngx_str_t text, std::size_t& bytes) noexcept {
    const ssize_t parsed = ngx_parse_size(&text);
    if (parsed <= 0) return false;
    bytes = static_cast<std::size_t>(parsed);
    return true;
}

bool parse_time(ngx_str_t text, ngx_msec_t& ms) noexcept {
    const ngx_int_t parsed = ngx_parse_time(&text, 0);
    if (parsed == NGX_ERROR) return false;
    ms = static_cast<ngx_msec_t>(parsed);
    return true;
}

/// PATH:SIZE; the path may hold colons itself.
bool parse_ring(ngx_str_t text, MainConf& conf) noexcept {
    const std::size_t colon = view(text).rfind(':');
    if (colon == std::string_view::npos || colon == 0) return false;
    conf.ring_path = {colon, text.data};
    return parse_size({text.len - colon - 1, text.data + colon + 1}, conf.ring_bytes) &&
           conf.ring_bytes >= kSmallestRingBytes;
}

/// A whole small file, its final newline stripped. `directive` is for the message.
char* read_secret(ngx_conf_t* cf, const char* directive, ngx_str_t path, ngx_str_t& secret) {
    if (ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) return static_cast<char*>(NGX_CONF_ERROR);
    ngx_file_t file{};
    file.name = path;
    file.log = cf->log;
    file.fd = ngx_open_file(path.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (file.fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno, "%s: cannot read \"%V\"", directive, &path);
        return static_cast<char*>(NGX_CONF_ERROR);
    }
    auto* bytes = static_cast<u_char*>(ngx_pnalloc(cf->pool, kMaxSecretBytes + 1));
    const ssize_t length = bytes == nullptr ? -1 : ngx_read_file(&file, bytes, kMaxSecretBytes + 1, 0);
    ngx_close_file(file.fd);
    if (length < 0) return fail(cf, "%s: cannot read \"%V\"", directive, &path);
    if (static_cast<std::size_t>(length) > kMaxSecretBytes) {
        return fail(cf, "%s: \"%V\" is longer than %uz bytes", directive, &path, kMaxSecretBytes);
    }
    secret = {static_cast<std::size_t>(length), bytes};
    secret.len = strip_final_newline(view(secret)).size();
    if (secret.len == 0) return fail(cf, "%s: \"%V\" is empty", directive, &path);
    return NGX_CONF_OK;
}

KeyHasher* make_key_hasher(ngx_conf_t* cf, ngx_str_t secret) {
    ngx_pool_cleanup_t* cleanup = ngx_pool_cleanup_add(cf->pool, 0);
    if (cleanup == nullptr) return nullptr;
    auto* hasher = new KeyHasher(view(secret));
    cleanup->data = hasher;
    cleanup->handler = [](void* made) { delete static_cast<KeyHasher*>(made); };
    return hasher;
}

bool name_secret(ngx_conf_t* cf, ngx_str_t secret, ngx_str_t& to) {
    const std::string name = installation_secret_id(view(secret));
    auto* bytes = static_cast<u_char*>(ngx_pnalloc(cf->pool, name.size()));
    if (bytes == nullptr) return false;
    std::copy(name.begin(), name.end(), bytes);
    to = {name.size(), bytes};
    return true;
}

/// What is made of a secret once: its hasher and its name.
bool prepare_secret(ngx_conf_t* cf, ngx_str_t secret, KeyHasher*& hasher, ngx_str_t& id) {
    hasher = make_key_hasher(cf, secret);
    return hasher != nullptr && name_secret(cf, secret, id);
}

char* read_secrets(ngx_conf_t* cf, MainConf& conf) {
    constexpr const char* kDirective = "lumen_secret_file";
    if (char* error = read_secret(cf, kDirective, conf.secret_file, conf.secret); error != NGX_CONF_OK) return error;
    if (!prepare_secret(cf, conf.secret, conf.key_hasher, conf.secret_id)) return static_cast<char*>(NGX_CONF_ERROR);
    if (conf.previous_secret_file.len == 0) return NGX_CONF_OK;
    if (char* error = read_secret(cf, kDirective, conf.previous_secret_file, conf.previous_secret);
        error != NGX_CONF_OK) {
        return error;
    }
    if (view(conf.previous_secret) == view(conf.secret)) {
        return fail(cf, "%s: \"%V\" holds the same secret as \"%V\"", kDirective, &conf.previous_secret_file,
                    &conf.secret_file);
    }
    return prepare_secret(cf, conf.previous_secret, conf.previous_key_hasher, conf.previous_secret_id)
               ? NGX_CONF_OK
               : static_cast<char*>(NGX_CONF_ERROR);
}

char* add_redis(ngx_conf_t* cf, MainConf& conf, const ngx_str_t& address) {
    if (conf.redis_addresses == nullptr) {
        conf.redis_addresses = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (conf.redis_addresses == nullptr) return static_cast<char*>(NGX_CONF_ERROR);
    }
    auto* added = static_cast<ngx_str_t*>(ngx_array_push(conf.redis_addresses));
    if (added == nullptr) return static_cast<char*>(NGX_CONF_ERROR);
    *added = address;
    return NGX_CONF_OK;
}

/// Names are looked up here, once: in a worker a lookup would stop everything (T23).
char* resolve_redis(ngx_conf_t* cf, ngx_str_t address, MainConf& conf) {
    if (after(address, "unix:")) {
        if (address.len == 5) return fail(cf, "no path in lumen_redis \"%V\"", &address);
        return add_redis(cf, conf, address);
    }
    ngx_url_t url{};
    url.url = address;
    url.default_port = kRedisPort;
    if (ngx_parse_url(cf->pool, &url) != NGX_OK || url.naddrs == 0 || url.uri.len > 0) {
        return fail(cf, "%s in lumen_redis \"%V\"", url.err != nullptr ? url.err : "not an address", &address);
    }
    return add_redis(cf, conf, url.addrs[0].name);
}

/// What follows the first address: more of them are words without `=`.
bool is_address(const ngx_str_t& text) noexcept {
    const std::string_view word = view(text);
    return word.find('=') == std::string_view::npos && word != "cluster" && word != "tls" &&
           (word.find(':') != std::string_view::npos || word.find('.') != std::string_view::npos);
}

char* make_zone(ngx_conf_t* cf, MainConf& conf) {
    conf.zone = ngx_shared_memory_add(cf, &conf.zone_name, conf.zone_bytes, &ngx_http_lumen_module);
    if (conf.zone == nullptr) return static_cast<char*>(NGX_CONF_ERROR);
    conf.zone->init = shared_zone_init;
    return NGX_CONF_OK;
}

}  // namespace

MainConf* main_conf(const ngx_http_request_t* r) noexcept {
    return static_cast<MainConf*>(ngx_http_get_module_main_conf(r, ngx_http_lumen_module));
}

MainConf* main_conf(const ngx_cycle_t* cycle) noexcept {
    if (ngx_get_conf(cycle->conf_ctx, ngx_http_module) == nullptr) return nullptr;  // no http{} block
    return static_cast<MainConf*>(ngx_http_cycle_get_module_main_conf(cycle, ngx_http_lumen_module));
}

ServerConf* server_conf(const ngx_http_request_t* r) noexcept {
    return static_cast<ServerConf*>(ngx_http_get_module_srv_conf(r, ngx_http_lumen_module));
}

LocationConf* location_conf(const ngx_http_request_t* r) noexcept {
    return static_cast<LocationConf*>(ngx_http_get_module_loc_conf(r, ngx_http_lumen_module));
}

void* create_main_conf(ngx_conf_t* cf) {
    auto* conf = static_cast<MainConf*>(ngx_pcalloc(cf->pool, sizeof(MainConf)));
    if (conf == nullptr) return nullptr;
    conf->replay_ms = NGX_CONF_UNSET_MSEC;
    conf->redis_timeout_ms = NGX_CONF_UNSET_MSEC;
    return conf;
}

char* init_main_conf(ngx_conf_t* cf, void* data) {
    auto& conf = *static_cast<MainConf*>(data);
    ngx_conf_init_msec_value(conf.replay_ms, kDefaultReplayMs);
    ngx_conf_init_msec_value(conf.redis_timeout_ms, kDefaultRedisTimeoutMs);
    if (!conf.configured) return NGX_CONF_OK;

    if (conf.zone_name.len == 0) {
        conf.zone_name = constant(kDefaultZone);
        conf.zone_bytes = kDefaultZoneBytes;
    }
    if (conf.ring_path.len == 0) {
        conf.ring_path = constant(kDefaultRing);
        conf.ring_bytes = kDefaultRingBytes;
    }
    if (ngx_conf_full_name(cf->cycle, &conf.ring_path, 0) != NGX_OK) return static_cast<char*>(NGX_CONF_ERROR);
    if (conf.redis_addresses == nullptr) {
        if (char* error = add_redis(cf, conf, constant(kDefaultRedis)); error != NGX_CONF_OK) return error;
    }
    if (conf.secret_file.len == 0) conf.secret_file = constant(kDefaultSecretFile);
    conf.host_name = cf->cycle->hostname;
    configure_ring(cf);
    if (char* error = read_secrets(cf, conf); error != NGX_CONF_OK) return error;
    return make_zone(cf, conf);
}

void* create_server_conf(ngx_conf_t* cf) {
    return ngx_pcalloc(cf->pool, sizeof(ServerConf));
}

char* merge_server_conf(ngx_conf_t*, void* parent, void* child) {
    static_cast<ServerConf*>(child)->gated |= static_cast<ServerConf*>(parent)->gated;
    return NGX_CONF_OK;
}

void* create_location_conf(ngx_conf_t* cf) {
    auto* conf = static_cast<LocationConf*>(ngx_pcalloc(cf->pool, sizeof(LocationConf)));
    if (conf == nullptr) return nullptr;
    conf->enabled = NGX_CONF_UNSET;
    conf->exhausted_status = NGX_CONF_UNSET_UINT;
    conf->tries = NGX_CONF_UNSET_UINT;
    conf->drain_aborted_ms = NGX_CONF_UNSET_MSEC;
    conf->live_viewers = NGX_CONF_UNSET_UINT;
    return conf;
}

char* merge_location_conf(ngx_conf_t*, void* parent, void* child) {
    const auto& outer = *static_cast<LocationConf*>(parent);
    auto& inner = *static_cast<LocationConf*>(child);
    ngx_conf_merge_value(inner.enabled, outer.enabled, 0);
    ngx_conf_merge_uint_value(inner.exhausted_status, outer.exhausted_status, kPaymentRequired);
    ngx_conf_merge_uint_value(inner.tries, outer.tries, kDefaultTries);
    ngx_conf_merge_msec_value(inner.drain_aborted_ms, outer.drain_aborted_ms, kDefaultDrainMs);
    return NGX_CONF_OK;
}

// lumen_zone NAME SIZE [ring=PATH:SIZE] [replay=TIME]
char* zone_directive(ngx_conf_t* cf, ngx_command_t*, void* data) {
    auto& conf = *static_cast<MainConf*>(data);
    if (conf.zone_name.len > 0) return const_cast<char*>("is duplicate");
    const ngx_str_t& size = *argument(cf, 2);
    conf.zone_name = *argument(cf, 1);
    if (!parse_size(size, conf.zone_bytes) || conf.zone_bytes < 8 * ngx_pagesize) {
        return fail(cf, "invalid size \"%V\" in lumen_zone", &size);
    }
    for (ngx_uint_t i = 3; i < cf->args->nelts; ++i) {
        ngx_str_t* text = argument(cf, i);
        const auto ring = after(*text, "ring=");
        const auto replay = after(*text, "replay=");
        const bool understood = (ring && parse_ring(*ring, conf)) || (replay && parse_time(*replay, conf.replay_ms));
        if (!understood) return fail(cf, "invalid parameter \"%V\" in lumen_zone", text);
    }
    return NGX_CONF_OK;
}

// lumen_secret_file PATH [previous=PATH]
char* secret_file_directive(ngx_conf_t* cf, ngx_command_t*, void* data) {
    auto& conf = *static_cast<MainConf*>(data);
    if (conf.secret_file.len > 0) return const_cast<char*>("is duplicate");
    conf.secret_file = *argument(cf, 1);
    if (cf->args->nelts == 2) return NGX_CONF_OK;
    const auto previous = after(*argument(cf, 2), "previous=");
    if (!previous || previous->len == 0)
        return fail(cf, "invalid parameter \"%V\" in lumen_secret_file", argument(cf, 2));
    conf.previous_secret_file = *previous;
    return NGX_CONF_OK;
}

// lumen_redis unix:PATH | HOST[:PORT] [timeout=TIME] [user=NAME] [password_file=PATH]
// lumen_redis HOST:PORT … cluster [timeout=TIME] [user=NAME] [password_file=PATH]
char* redis_directive(ngx_conf_t* cf, ngx_command_t*, void* data) {
    auto& conf = *static_cast<MainConf*>(data);
    if (conf.redis_addresses != nullptr) return const_cast<char*>("is duplicate");
    if (char* error = resolve_redis(cf, *argument(cf, 1), conf); error != NGX_CONF_OK) return error;
    for (ngx_uint_t i = 2; i < cf->args->nelts; ++i) {
        ngx_str_t* text = argument(cf, i);
        if (view(*text) == "cluster") {
            conf.redis_cluster = true;
            continue;
        }
        if (is_address(*text)) {
            if (char* error = resolve_redis(cf, *text, conf); error != NGX_CONF_OK) return error;
            continue;
        }
        if (view(*text) == "tls") return fail(cf, "\"tls\" in lumen_redis needs hiredis 1.0 or newer");
        if (const auto file = after(*text, "password_file=")) {
            if (char* error = read_secret(cf, "lumen_redis", *file, conf.redis_password); error != NGX_CONF_OK) {
                return error;
            }
            continue;
        }
        const auto timeout = after(*text, "timeout=");
        const auto user = after(*text, "user=");
        if (user && user->len > 0) {
            conf.redis_user = *user;
        } else if (!timeout || !parse_time(*timeout, conf.redis_timeout_ms) || conf.redis_timeout_ms == 0) {
            return fail(cf, "invalid parameter \"%V\" in lumen_redis", text);
        }
    }
    if (conf.redis_addresses->nelts > 1 && !conf.redis_cluster) {
        return fail(cf, "lumen_redis: more than one address is for a \"cluster\"");
    }
    if (conf.redis_cluster && after(*argument(cf, 1), "unix:")) {
        return fail(cf, "lumen_redis: the nodes of a \"cluster\" are named by HOST:PORT");
    }
    if (conf.redis_user.len > 0 && conf.redis_password.len == 0) {
        return fail(cf, "lumen_redis: \"user=\" needs \"password_file=\"");
    }
    return NGX_CONF_OK;
}

// lumen on | off
char* gate_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* data) {
    char* result = ngx_conf_set_flag_slot(cf, cmd, data);
    if (result != NGX_CONF_OK) return result;
    if (static_cast<LocationConf*>(data)->enabled != 0) {
        auto* main = static_cast<MainConf*>(ngx_http_conf_get_module_main_conf(cf, ngx_http_lumen_module));
        main->configured = 1;
        auto* server = static_cast<ServerConf*>(ngx_http_conf_get_module_srv_conf(cf, ngx_http_lumen_module));
        server->gated = true;
    }
    return NGX_CONF_OK;
}

// lumen_exhausted_status 402 | 429
char* exhausted_status_directive(ngx_conf_t* cf, ngx_command_t*, void* data) {
    auto& conf = *static_cast<LocationConf*>(data);
    if (conf.exhausted_status != NGX_CONF_UNSET_UINT) return const_cast<char*>("is duplicate");
    ngx_str_t* text = argument(cf, 1);
    const ngx_int_t status = ngx_atoi(text->data, text->len);
    if (status != ngx_int_t{kPaymentRequired} && status != NGX_HTTP_TOO_MANY_REQUESTS) {
        return fail(cf, "invalid value \"%V\" in lumen_exhausted_status, it must be 402 or 429", text);
    }
    conf.exhausted_status = static_cast<ngx_uint_t>(status);
    return NGX_CONF_OK;
}

// lumen_tries 1…16
char* tries_directive(ngx_conf_t* cf, ngx_command_t*, void* data) {
    auto& conf = *static_cast<LocationConf*>(data);
    if (conf.tries != NGX_CONF_UNSET_UINT) return const_cast<char*>("is duplicate");
    ngx_str_t* text = argument(cf, 1);
    const ngx_int_t tries = ngx_atoi(text->data, text->len);
    if (tries < 1 || static_cast<ngx_uint_t>(tries) > kMostTries) {
        return fail(cf, "invalid value \"%V\" in lumen_tries, it must be 1 to %ui", text, kMostTries);
    }
    conf.tries = static_cast<ngx_uint_t>(tries);
    return NGX_CONF_OK;
}

}  // namespace lumen
