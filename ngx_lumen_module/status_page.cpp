#include "ngx_lumen_module/status_page.h"

#include <string>

#include "ngx_lumen_module/catalogue_feed.h"
#include "ngx_lumen_module/gate_report.h"
#include "ngx_lumen_module/guard.h"
#include "ngx_lumen_module/redis_client.h"
#include "ngx_lumen_module/refusal.h"
#include "ngx_lumen_module/request.h"
#include "ngx_lumen_module/shared_zone.h"

namespace lumen {
namespace {

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width">
<title>Lumen gate</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff }
table { border-collapse: collapse } th, td { padding: .25rem .75rem; text-align: left; border-bottom: 1px solid #ccc }
td.n { text-align: right; font-variant-numeric: tabular-nums } .bad { color: #a00000; font-weight: 600 }
dl { display: grid; grid-template-columns: max-content auto; gap: 0 1rem } dd { margin: 0 }
</style>
</head>
<body>
<main>
<h1>Lumen gate</h1>
)";
constexpr std::string_view kFoot = "</main>\n</body>\n</html>\n";
constexpr std::string_view kPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '<':
                out += "&lt;";
                break;
            case '>':
                out += "&gt;";
                break;
            case '&':
                out += "&amp;";
                break;
            case '"':
                out += "&quot;";
                break;
            default:
                out += c;
        }
    }
    return out;
}

void fact(std::string& page, std::string_view name, std::string_view value) {
    page.append("<dt>").append(name).append("</dt><dd>").append(value).append("</dd>\n");
}

std::string seconds(std::int64_t ms) {
    return std::to_string((ms + 999) / 1000) + " s";
}

void write_facts(std::string& page, const Catalogue* catalogue, std::int64_t now_ms) {
    const RingView ring = ring_view();
    page.append("<dl>\n");
    fact(page, "Redis", redis_complete(RedisLane::requests) ? "answers" : "<span class=\"bad\">does not answer</span>");
    fact(page, "Catalogue",
         catalogue != nullptr ? "version " + std::to_string(catalogue->version) + ", " +
                                    std::to_string(catalogue->models.size()) + " models"
                              : "<span class=\"bad\">none has come yet</span>");
    fact(page, "Coins held", format_coins(coins_held()));
    if (ring.slots == 0) {
        fact(page, "Ring", "<span class=\"bad\">could not be opened: priced requests are refused</span>");
    } else {
        const std::int64_t oldest_ms = ring.load.oldest_settled_ms;
        fact(page, "Ring",
             std::to_string(ring.load.unsettled) + " unsettled, " + std::to_string(ring.load.settled) +
                 " kept for replay of " + std::to_string(ring.slots) + " slots");
        fact(page, "Replay window",
             seconds(ring.replay_ms) + ", oldest kept " + (oldest_ms == 0 ? "none" : seconds(now_ms - oldest_ms)) +
                 ", " + std::to_string(ring.shrunk) + " given up early");
    }
    page.append("</dl>\n");
}

std::string state_of(const EndpointView& view) {
    const std::string state(view.endpoint->draining ? std::string_view("draining") : view.state);
    return view.state == "ready" ? state : "<span class=\"bad\">" + state + "</span>";
}

void write_endpoints(std::string& page, const Catalogue& catalogue, std::int64_t now_ms) {
    page.append("<table>\n<caption>Endpoints</caption>\n<thead><tr>");
    for (const char* column :
         {"Model", "Endpoint", "State", "Why", "For another", "In flight", "Weight", "First byte"}) {
        page.append("<th scope=\"col\">").append(column).append("</th>");
    }
    page.append("</tr></thead>\n<tbody>\n");
    for (const EndpointView& view : endpoint_views(catalogue, now_ms)) {
        page.append("<tr><td>").append(escaped(view.model->name)).append("</td><th scope=\"row\">");
        page.append(escaped(view.endpoint->name)).append("</th><td>").append(state_of(view)).append("</td><td>");
        page.append(escaped(view.reason)).append("</td><td class=\"n\">");
        if (view.until_ms > now_ms) page.append(seconds(view.until_ms - now_ms));
        page.append("</td><td class=\"n\">").append(std::to_string(view.in_flight)).append("</td><td class=\"n\">");
        page.append(std::to_string(view.endpoint->weight)).append("</td><td class=\"n\">");
        if (view.latency_us > 0) page.append(std::to_string((view.latency_us + 500) / 1000)).append(" ms");
        page.append("</td></tr>\n");
    }
    page.append("</tbody>\n</table>\n");
}

std::string html_page(const Catalogue* catalogue, std::int64_t now_ms) {
    std::string page(kHead);
    write_facts(page, catalogue, now_ms);
    if (catalogue != nullptr) write_endpoints(page, *catalogue, now_ms);
    return page.append(kFoot);
}

bool wants_json(const ngx_http_request_t* r) noexcept {
    for (const ngx_list_part_t* part = &r->headers_in.headers.part; part != nullptr; part = part->next) {
        const auto* headers = static_cast<const ngx_table_elt_t*>(part->elts);
        for (ngx_uint_t i = 0; i < part->nelts; ++i) {
            const std::string_view name(reinterpret_cast<const char*>(headers[i].lowcase_key), headers[i].key.len);
            if (name == "accept") return view(headers[i].value).find("application/json") != std::string_view::npos;
        }
    }
    return false;
}

ngx_int_t answer_status(ngx_http_request_t* r) noexcept {
    if ((r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)) == 0) return NGX_HTTP_NOT_ALLOWED;
    return guarded(r->connection->log, "status page", ngx_int_t{NGX_HTTP_INTERNAL_SERVER_ERROR}, [&]() -> ngx_int_t {
        const ngx_int_t rc = ngx_http_discard_request_body(r);
        if (rc != NGX_OK) return rc;
        const std::shared_ptr<const Catalogue> catalogue = current_catalogue();
        const bool json = wants_json(r);
        const std::string body = json ? gate_report(catalogue.get(), unix_ms(), ReportNames::ids_and_names) + "\n"
                                      : html_page(catalogue.get(), unix_ms());
        r->headers_out.status = NGX_HTTP_OK;
        r->headers_out.content_length_n = static_cast<off_t>(body.size());
        if (json) {
            set_json_content_type(r);
        } else {
            ngx_str_set(&r->headers_out.content_type, "text/html; charset=utf-8");
            r->headers_out.content_type_len = sizeof("text/html") - 1;
        }
        if (add_header(r, "Cache-Control", "no-store") != NGX_OK || add_header(r, "Vary", "Accept") != NGX_OK ||
            add_header(r, "X-Content-Type-Options", "nosniff") != NGX_OK ||
            add_header(r, "Content-Security-Policy", kPolicy) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
        ++r->main->count;  // given back twice: by send_body, and by nginx for NGX_DONE of a content handler
        send_body(r, body);
        return NGX_DONE;
    });
}

}  // namespace

char* status_directive(ngx_conf_t* cf, ngx_command_t*, void*) {
    auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module));
    core->handler = answer_status;
    return NGX_CONF_OK;
}

}  // namespace lumen
