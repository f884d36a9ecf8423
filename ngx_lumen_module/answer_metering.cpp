#include "ngx_lumen_module/answer_metering.h"

#include <algorithm>

namespace lumen {
namespace {

/// Something that is not counted in tokens is what is paid for.
bool paid_by_token(const Request& request) noexcept {
    const bool text = !reads_audio(request.operation) && request.operation != Operation::audio_speech &&
                      request.operation != Operation::images_generations;
    const Price& price = request.price->price;
    return text || price.input_per_million > NanoCoins{0} || price.output_per_million > NanoCoins{0};
}

/// What the request itself and the text that came say, where the endpoint said nothing.
Usage estimate(const Request& request) noexcept {
    const RequestFacts& facts = request.facts;
    Usage usage;
    usage.characters = facts.characters;
    if (reads_audio(request.operation)) usage.audio_ms = estimated_audio_ms(facts);
    if (request.operation == Operation::images_generations) usage.images = facts.choices;
    if (!paid_by_token(request)) return usage;

    const bool spoken = request.operation == Operation::audio_speech;  // what came is sound, and no text
    const Usage tokens = estimated_usage(estimated_text_bytes(facts), spoken ? 0 : request.metering.output_bytes);
    usage.output_tokens = tokens.output_tokens;
    usage.input_tokens =
        reads_audio(request.operation) ? estimated_input_tokens(request.operation, facts) : tokens.input_tokens;
    const std::uint64_t window = request.model->context_window;
    if (window > 0 && traits_of(request.operation).generates_text) {
        usage.input_tokens = std::min(usage.input_tokens, window * std::max(facts.choices, 1U));
    }
    return usage;
}

/// Characters and pictures are counted, not estimated: with no price on tokens, nothing else matters.
void take_estimate(Request& request) noexcept {
    request.metering.usage = estimate(request);
    const bool counted = !reads_audio(request.operation) && !paid_by_token(request);
    request.metering.source = counted ? UsageSource::final : UsageSource::estimated;
}

void forget(Metering& metering) noexcept {
    metering.usage = {};
    metering.source = UsageSource::none;
    metering.output_bytes = 0;
}

/// A half that the server did not count, or not credibly, is what was seen of it: neither is free.
void take_said(Request& request, const SaidUsage& said) noexcept {
    Metering& metering = request.metering;
    metering.usage = said.usage;
    if (!said.lacks_input && !said.lacks_output) return;
    Usage& usage = metering.usage;
    const auto take_larger = [&metering](std::uint64_t& count, std::uint64_t seen) {
        if (seen <= count) return;
        count = seen;
        metering.source = UsageSource::estimated;
    };
    if (said.lacks_input) take_larger(usage.input_tokens, estimate(request).input_tokens);
    if (said.lacks_output) take_larger(usage.output_tokens, estimated_usage(0, metering.output_bytes).output_tokens);
}

/// One picture was asked for, and is paid once, when it is finished; one that has begun by whoever does not wait for
/// it.
void meter_picture(Request& request) {
    Metering& metering = request.metering;
    const StreamMeter& stream = *metering.stream;
    const bool ended_without = !stream.picture_finished() && (stream.done_seen() || stream.error_seen());
    if (!stream.picture_begun() || ended_without) return forget(metering);
    take_estimate(request);
    if (!stream.picture_finished()) metering.source = UsageSource::estimated;
    if (stream.usage_source() == UsageSource::none) return;
    metering.source = UsageSource::final;
    take_said(request, stream.said_usage());
    metering.usage.images = 1;
}

/// No usage has come yet. What the request itself says was looked at for the first piece of text; from then on only the
/// output grows.
void estimate_stream(Request& request) noexcept {
    Metering& metering = request.metering;
    if (metering.output_bytes == 0) {
        metering.source = UsageSource::none;
    } else if (metering.source == UsageSource::estimated && metering.usage.output_tokens > 0) {
        metering.usage.output_tokens = estimated_usage(0, metering.output_bytes).output_tokens;
    } else {
        take_estimate(request);
    }
}

}  // namespace

void meter_stream(Request& request) {
    if (request.operation == Operation::images_generations) return meter_picture(request);
    Metering& metering = request.metering;
    const StreamMeter& stream = *metering.stream;
    metering.output_bytes = stream.output_text_bytes();
    if (stream.usage_source() == UsageSource::none) return estimate_stream(request);
    metering.source = stream.usage_source();
    take_said(request, stream.said_usage());
}

void meter_json(Request& request, const JsonMeter& json) {
    Metering& metering = request.metering;
    if (request.stage == Stage::passing) return;
    metering.output_bytes = json.output_text_bytes();
    if (const auto said = usage_of_object(request.operation, json.usage_object())) {
        metering.source = UsageSource::final;
        take_said(request, *said);
        metering.usage.images = json.images();
        return;
    }
    take_estimate(request);
    if (request.operation == Operation::images_generations) metering.usage.images = json.images();
    if (const std::optional<std::uint64_t> said_ms = seconds_as_ms(json.named())) {
        metering.usage.audio_ms = *said_ms;
        if (!paid_by_token(request)) metering.source = UsageSource::final;
    }
}

void meter_unread(Request& request) noexcept {
    if (request.stage != Stage::passing) take_estimate(request);
}

void forget_usage(Request& request) noexcept {
    forget(request.metering);
}

}  // namespace lumen
