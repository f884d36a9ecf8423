// The REST contract as OpenAPI 3.1, from one source: openapi/*.yaml say what travels, and the route table says who may
// call and what a request must bring. Served at GET /api/openapi.json; every REST test checks its answers against it.
#pragma once

#include <string>
#include <vector>

#include "admind/text/json.h"

namespace lumen::admind {

struct ContractFile {
    const char* name;
    const char* yaml;
};
const std::vector<ContractFile>& contract_files();

/// Made once. Throws std::runtime_error with the place: a file is wrong, a route has no entry, or an entry no route.
const Json& api_contract();

/// How a list's rows become cells: a dotted path, and whether the cell is an amount, a list or plain. In the order of
/// the contract.
struct CsvColumn {
    enum class Kind : std::uint8_t { plain, coins, list };
    std::vector<std::string> path;
    Kind kind = Kind::plain;
};
/// Empty: the route offers no CSV.
std::vector<CsvColumn> csv_columns(std::string_view method, std::string_view pattern);

}  // namespace lumen::admind
