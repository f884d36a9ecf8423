// What the directives of design.md §4 become.
#pragma once

#include <string>

#include "lumen_core/api_key.h"
#include "lumen_core/catalogue.h"
#include "lumen_core/ledger_protocol.h"
#include "ngx_lumen_module/ngx.h"

namespace lumen {

/// http{} level: lumen_zone, lumen_redis, lumen_secret_file.
struct MainConf {
    ngx_str_t zone_name;
    size_t zone_bytes;
    ngx_str_t ring_path;  ///< ring=PATH:SIZE of lumen_zone
    size_t ring_bytes;
    ngx_msec_t replay_ms;  ///< replay= of lumen_zone
    ngx_shm_zone_t* zone;

    ngx_array_t* redis_addresses;  ///< ngx_str_t: "unix:/path" or "IP:port"; several only of a Cluster
    bool redis_cluster;
    Deployment deployment() const noexcept { return redis_cluster ? Deployment::cluster : Deployment::single; }
    ngx_msec_t redis_timeout_ms;  ///< deadline of every call on the request path
    ngx_str_t redis_user;
    ngx_str_t redis_password;  ///< read from password_file= when the configuration is loaded
    ngx_str_t secret_file;
    ngx_str_t secret;       ///< installation secret, final newline stripped
    KeyHasher* key_hasher;  ///< of that secret; lives as long as the configuration
    ngx_str_t previous_secret_file;
    ngx_str_t previous_secret;       ///< the one before, during a rotation; empty: none
    KeyHasher* previous_key_hasher;  ///< null: none
    ngx_str_t secret_id;             ///< installation_secret_id of `secret`
    ngx_str_t previous_secret_id;    ///< empty: none
    ngx_str_t host_name;             ///< of this machine, as gates are told apart by people
    unsigned configured : 1;         ///< at least one `lumen on`
};

/// server level, set by the locations in it.
struct ServerConf {
    bool gated;  ///< `lumen on` somewhere in it
};

/// location level: lumen, lumen_exhausted_status, lumen_tries, lumen_drain_aborted.
struct LocationConf {
    ngx_flag_t enabled;
    ngx_uint_t exhausted_status;  ///< 402 or 429
    ngx_uint_t tries;             ///< endpoints asked at most, 1…16
    ngx_msec_t drain_aborted_ms;  ///< how long an answer is read on after its client left
    ngx_uint_t live_viewers;      ///< lumen_live viewers=: open streams of a worker at most
};

MainConf* main_conf(const ngx_http_request_t* r) noexcept;
MainConf* main_conf(const ngx_cycle_t* cycle) noexcept;
ServerConf* server_conf(const ngx_http_request_t* r) noexcept;
LocationConf* location_conf(const ngx_http_request_t* r) noexcept;

inline constexpr ngx_uint_t kMostTries = 16;

void* create_main_conf(ngx_conf_t* cf);
/// lumen_secret_file PATH [previous=PATH].
char* secret_file_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);
/// Fills in the defaults of design.md §4, makes the shared zone and reads the installation secret, if any location has
/// `lumen on`.
char* init_main_conf(ngx_conf_t* cf, void* conf);
void* create_server_conf(ngx_conf_t* cf);
char* merge_server_conf(ngx_conf_t* cf, void* parent, void* child);
void* create_location_conf(ngx_conf_t* cf);
char* merge_location_conf(ngx_conf_t* cf, void* parent, void* child);

char* zone_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);
char* redis_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);
char* gate_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);
char* exhausted_status_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);
char* tries_directive(ngx_conf_t* cf, ngx_command_t* cmd, void* conf);

}  // namespace lumen
