// Keeps the worker's catalogue snapshot fresh, and passes probe results on to endpoint health (design.md §3,
// Catalogue).
#pragma once

#include <memory>

#include "lumen_core/catalogue.h"
#include "ngx_lumen_module/ngx.h"

namespace lumen {

inline constexpr ngx_msec_t kCatalogueLookMs = 5'000;  ///< for announcements that got lost

ngx_int_t catalogue_feed_init(ngx_cycle_t* cycle);

/// The snapshot; null until one has arrived. A request keeps the one it began with.
std::shared_ptr<const Catalogue> current_catalogue() noexcept;

/// Somebody who waits until the catalogue has been looked up once more, found newer or not, or Redis did not answer in
/// time. Must be cancelled before it dies.
struct CatalogueWait {
    ngx_queue_t link{};
    void (*done)(void* owner) = nullptr;  ///< null: not waiting
    void* owner = nullptr;
};
/// false: Redis is away, `done` will not be called. Any number may wait for the same look.
bool await_catalogue(CatalogueWait& wait, void (*done)(void* owner), void* owner);
/// A worker that has just begun has no catalogue for some milliseconds, but clients already: they wait for it, at most
/// for one Redis deadline from the worker's beginning. false: there is one, or that time is over.
bool await_first_catalogue(CatalogueWait& wait, void (*done)(void* owner), void* owner);
void cancel(CatalogueWait& wait) noexcept;

}  // namespace lumen
