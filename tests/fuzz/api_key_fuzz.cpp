// No key is misjudged: what is ours verifies, what is changed does not, and hints give nothing away.
#include "lumen_core/api_key.h"

#include <algorithm>

#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace lumen;
    const std::string_view text = fuzz::text_of(data, size);
    const KeyForm form = api_key_form(text);
    fuzz::require(form == KeyForm::malformed || (!text.empty() && text.size() <= kMaxApiKeyBytes),
                  "only keys of a bounded length are looked up");
    fuzz::require(form != KeyForm::own || text.substr(0, 3) == "sk_", "our keys begin with sk_");
    fuzz::require(api_key_hint(text).size() <= 4 + 3 + 4, "a hint shows eight characters at most");

    std::array<std::uint8_t, 32> random{};
    std::copy_n(data, std::min(size, random.size()), random.begin());
    std::string key = make_api_key(random);
    fuzz::require(api_key_form(key) == KeyForm::own, "a key we made is ours");
    if (size == 0) return 0;
    char& changed = key[3 + data[0] % (key.size() - 3)];
    changed = changed == 'A' ? 'B' : 'A';
    fuzz::require(api_key_form(key) == KeyForm::broken, "one changed character is seen without a lookup");
    return 0;
}
