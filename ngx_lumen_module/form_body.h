// A multipart body under the gate: what its Content-Type names, and its facts, read a slice at a time so that a long
// one holds up no other request of the worker.
#pragma once

#include <string>

#include "lumen_core/form_facts.h"
#include "ngx_lumen_module/request.h"

namespace lumen {

/// The request will have a form of that boundary.
void expect_form(Request& request, std::string boundary);
/// Reads request.body to its end, then goes on with `next`; in between other requests have their turn.
void read_form(Request& request, Step next);
/// What was read; once, after read_form.
FactsResult form_result(Request& request);

}  // namespace lumen
