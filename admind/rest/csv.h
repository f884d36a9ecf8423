// Lists as CSV (RFC 4180) that no spreadsheet takes for formulas (B27).
#pragma once

#include <string>
#include <vector>

#include "admind/rest/api_contract.h"

namespace lumen::admind {

/// A header of dotted names, then one line a row. Amounts are exact decimals; lists are joined by "; ".
std::string csv_text(const Json& rows, const std::vector<CsvColumn>& columns);

/// One cell, quoted where it must be.
std::string csv_cell(const std::string& text);

}  // namespace lumen::admind
