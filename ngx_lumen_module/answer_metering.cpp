#include "ngx_lumen_module/answer_metering.h"

namespace lumen {

void meter_stream(Request& request) {
    Metering& metering = request.metering;
    const StreamMeter& stream = *metering.stream;
    metering.output_bytes = stream.output_text_bytes();
    metering.source = stream.usage_source();
    if (metering.source != UsageSource::none) {
        metering.usage = stream.usage();
    } else if (metering.output_bytes > 0) {
        metering.usage = estimated_usage(request.facts.input_bytes, metering.output_bytes);
        metering.source = UsageSource::estimated;
    }
}

void meter_json(Request& request, const JsonMeter& json) {
    Metering& metering = request.metering;
    metering.output_bytes = json.output_text_bytes();
    if (const std::optional<Usage> usage = usage_of_object(request.operation, json.usage_object())) {
        metering.usage = *usage;
        metering.source = UsageSource::final;
        return;
    }
    metering.usage = estimated_usage(request.facts.input_bytes, metering.output_bytes);
    metering.source = UsageSource::estimated;
}

void forget_usage(Request& request) noexcept {
    request.metering.usage = {};
    request.metering.source = UsageSource::none;
    request.metering.output_bytes = 0;
}

}  // namespace lumen
