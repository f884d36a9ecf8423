#include "ngx_lumen_module/upstream_request.h"

#include <string>
#include <vector>

namespace lumen {
namespace {

/// A chain made back to front or front to back would do; this one appends.
class ChainBuilder {
 public:
    explicit ChainBuilder(ngx_pool_t* pool) noexcept : pool_(pool) {}

    bool append(const char* bytes, std::size_t length) noexcept {
        if (length == 0) return true;
        auto* buf = static_cast<ngx_buf_t*>(ngx_calloc_buf(pool_));
        ngx_chain_t* link = ngx_alloc_chain_link(pool_);
        if (buf == nullptr || link == nullptr) return false;
        // nginx sends from pos, and goes back to start for the next attempt: both are the same (T34).
        buf->start = buf->pos = reinterpret_cast<u_char*>(const_cast<char*>(bytes));
        buf->end = buf->last = buf->pos + length;
        buf->memory = 1;
        *link = {buf, nullptr};
        *last_ = link;
        last_ = &link->next;
        bytes_ += static_cast<off_t>(length);
        return true;
    }

    ngx_chain_t* chain() const noexcept { return first_; }
    off_t bytes() const noexcept { return bytes_; }

 private:
    ngx_pool_t* pool_;
    ngx_chain_t* first_ = nullptr;
    ngx_chain_t** last_ = &first_;
    off_t bytes_ = 0;
};

/// Text that outlives the splices: nginx sends it later.
const char* keep(ngx_pool_t* pool, std::string_view text) noexcept {
    auto* kept = static_cast<char*>(ngx_pnalloc(pool, text.size()));
    if (kept != nullptr) ngx_memcpy(kept, text.data(), text.size());
    return kept;
}

bool append_spliced(ChainBuilder& out, const Request& request, const std::vector<Splice>& splices) {
    std::size_t done = 0;
    for (const Splice& splice : splices) {
        if (!out.append(request.body.data() + done, splice.offset - done)) return false;
        if (!splice.text.empty()) {
            const char* text = keep(request.r->pool, splice.text);
            if (text == nullptr || !out.append(text, splice.text.size())) return false;
        }
        done = splice.offset + splice.length;
    }
    return out.append(request.body.data() + done, request.body.size() - done);
}

/// What the client put behind `?` is not passed on, as no operation of ours has parameters there, but for the one that
/// Anthropic's SDKs put there for what is new.
ngx_str_t upstream_args(const Request& request) noexcept {
    constexpr std::string_view kBeta = "beta=true";
    const ngx_str_t& args = request.routing.client_args;
    return request.dialect == Dialect::anthropic && view(args) == kBeta ? args : ngx_str_t{0, nullptr};
}

/// The endpoint's own path.
bool set_path(Request& request) {
    ngx_http_request_t* r = request.r;
    const std::string& prefix = request.routing.endpoint->path_prefix;
    const std::string_view operation = traits_of(request.operation).path;
    const std::size_t bytes = prefix.size() + 1 + operation.size();
    auto* const path = static_cast<u_char*>(ngx_pnalloc(r->pool, bytes));
    if (path == nullptr) return false;
    u_char* const slash = ngx_cpymem(path, prefix.data(), prefix.size());
    *slash = '/';
    ngx_memcpy(slash + 1, operation.data(), operation.size());
    if (request.routing.client_uri.len == 0) {
        request.routing.client_uri = r->uri;
        request.routing.client_args = r->args;
    }
    r->uri = {bytes, path};
    r->args = upstream_args(request);
    r->valid_unparsed_uri = 0;  // else proxy sends the client's own line (T63)
    r->quoted_uri = 0;          // the prefix is in its final form: it must not be escaped again
    return true;
}

}  // namespace

void restore_client_uri(Request& request) noexcept {
    request.r->uri = request.routing.client_uri;
    request.r->args = request.routing.client_args;
}

ngx_int_t build_upstream_request(Request& request) {
    ngx_http_request_t* r = request.r;
    const CatalogueEndpoint& endpoint = *request.routing.endpoint;
    const bool ask_usage =
        request.facts.stream && !request.facts.wants_usage && takes_stream_options(request.operation);
    const std::vector<Splice> splices = request.form
                                            ? form_splices(request.facts, endpoint.upstream_model)
                                            : upstream_splices(request.facts, request.body, endpoint.upstream_model,
                                                               ask_usage, ask_usage && endpoint.continuous_usage);
    ChainBuilder body(r->pool);
    if (!append_spliced(body, request, splices) || !set_path(request)) return NGX_ERROR;
    r->request_body->bufs = body.chain();
    r->request_body->buf = nullptr;
    r->request_body->temp_file = nullptr;
    r->headers_in.content_length_n = body.bytes();
    r->headers_in.chunked = 0;
    return NGX_OK;
}

}  // namespace lumen
