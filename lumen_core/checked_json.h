// Reads documents that must be right as a whole: every member is asked for with its bounds, and the first thing that is
// wrong is kept with its path ("endpoints[2].weight: must be 1 to 100"). After that, everything reads as empty.
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lumen {

/// The first thing found wrong in a document.
class JsonFault {
 public:
    bool found() const noexcept { return !text_.empty(); }
    const std::string& text() const noexcept { return text_; }
    /// Later ones are dropped: they are often consequences of the first.
    void note(std::string_view path, std::string_view reason);

 private:
    std::string text_;
};

/// An object of the document; refers to the parser's memory and to the fault, which must outlive it.
class CheckedObject {
 public:
    /// `path` is empty for the whole document.
    CheckedObject(simdjson::dom::element element, std::string path, JsonFault& fault);

    /// Calls `take(CheckedObject)` with a member that is an object.
    template <typename Take>
    void with_object(std::string_view key, Take take) const {
        simdjson::dom::element element;
        if (find(key, element)) take(CheckedObject(element, path_of(key), *fault_));
    }

    std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most) const;
    bool flag(std::string_view key) const;
    /// Length in bytes.
    std::string_view text(std::string_view key, std::size_t shortest, std::size_t longest) const;
    /// An object as JSON text without white space.
    std::string json(std::string_view key) const;

    /// Calls `take(CheckedObject)` for each object of an array until something is wrong.
    template <typename Take>
    void each_object(std::string_view key, std::size_t most, Take take) const {
        each(key, most, [&](std::size_t index, simdjson::dom::element element) {
            take(CheckedObject(element, path_of(key) + "[" + std::to_string(index) + "]", *fault_));
        });
    }
    /// The same for an array of strings, each as std::string_view.
    template <typename Take>
    void each_text(std::string_view key, std::size_t most, Take take) const {
        each(key, most, [&](std::size_t, simdjson::dom::element element) {
            std::string_view value;
            if (element.get_string().get(value)) return wrong(key, "must hold strings only");
            take(value);
        });
    }
    /// The same for an array of integers, each as std::int64_t.
    template <typename Take>
    void each_integer(std::string_view key, std::size_t most, Take take) const {
        each(key, most, [&](std::size_t, simdjson::dom::element element) {
            std::int64_t value = 0;
            if (element.get_int64().get(value)) return wrong(key, "must hold integers only");
            take(value);
        });
    }

    /// Notes a fault of a member, or of the object itself.
    void wrong(std::string_view key, std::string_view reason) const { fault_->note(path_of(key), reason); }
    void wrong(std::string_view reason) const { fault_->note(path_, reason); }

 private:
    /// False if there is no such member, or none of that type; the fault is noted.
    bool find(std::string_view key, simdjson::dom::element& found) const;
    bool find_array(std::string_view key, std::size_t most, simdjson::dom::array& found) const;

    template <typename Take>
    void each(std::string_view key, std::size_t most, Take take) const {
        simdjson::dom::array elements;
        if (!find_array(key, most, elements)) return;
        std::size_t index = 0;
        for (const simdjson::dom::element element : elements) {
            if (fault_->found()) return;
            take(index++, element);
        }
    }
    std::string path_of(std::string_view key) const;

    simdjson::dom::object members_;
    bool is_object_ = false;
    std::string path_;
    JsonFault* fault_;
};

}  // namespace lumen
