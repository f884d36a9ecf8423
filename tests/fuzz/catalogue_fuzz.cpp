// Any document is a whole catalogue or an error with a reason.
#include "lumen_core/catalogue.h"

#include "lumen_core/endpoint_url.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    constexpr const char* kSecret = "golden installation secret";
    const std::string text(fuzz::text_of(data, size));
    const CatalogueResult result = parse_catalogue(text, kSecret);
    fuzz::require((result.catalogue == nullptr) == !result.error.empty(), "a catalogue or a reason");
    if (result.catalogue != nullptr) {
        for (const CatalogueModel& model : result.catalogue->models) {
            fuzz::require(result.catalogue->find(model.name) == &model, "every model is found by its name");
            fuzz::require(!model.prices.empty() && &model.price_at(0) == &model.prices.front(),
                          "every model has a price");
            fuzz::require(model.endpoints.size() <= kMaxEndpointsPerModel, "endpoints fit the balancer's bits");
            for (const CatalogueEndpoint& endpoint : model.endpoints) {
                for (const EndpointAddress& address : endpoint.addresses) {
                    fuzz::require(parse_endpoint_address(address.text).has_value(), "addresses need no name server");
                }
            }
        }
    }
    if (const auto url = parse_endpoint_url(text)) {
        const auto again = parse_endpoint_url((url->https ? "https://" : "http://") + url->host + url->path_prefix);
        fuzz::require(again && again->host == url->host && again->path_prefix == url->path_prefix,
                      "URLs are normal once read");
    }
    unseal_credential(kSecret, "1", text);
    return 0;
}
