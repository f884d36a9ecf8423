// Channels of Redis that this worker listens to, on a connection of their own (T29); kept over reconnects.
#pragma once

#include <string_view>

#include "ngx_lumen_module/ngx.h"

namespace lumen {

struct MainConf;

void channels_init_process(const MainConf* conf, ngx_log_t* log);
/// Closes the connection; nobody is called any more.
void channels_exit_process() noexcept;

/// `payload` dies on return.
using ChannelMessage = void (*)(void* owner, std::string_view payload);
/// One listener a channel; a second one takes the place of the first.
void subscribe(std::string_view channel, ChannelMessage on_message, void* owner);
/// From here on `owner` is not used any more, whatever is still on its way.
void unsubscribe(std::string_view channel);
/// Called each time the connection is back and all channels are asked for: what was said meanwhile is lost.
void on_channels_back(void (*callback)());

}  // namespace lumen
