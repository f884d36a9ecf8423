// Routes requests to the dialects and lays the asked-for misbehaviour over their answers.
#pragma once

#include <string>
#include <vector>

#include "tests/harness/model_server/control.h"
#include "tests/harness/model_server/http_message.h"

namespace lumen::model_server {

class ModelApi {
 public:
    ModelApi(std::vector<std::string> models, Control& control) : models_(std::move(models)), control_(control) {}

    Answer handle(const Request& request);

 private:
    std::vector<std::string> models_;
    Control& control_;
};

}  // namespace lumen::model_server
