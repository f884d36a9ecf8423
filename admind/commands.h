// Administration from the command line: tokens, users, keys. The same functions as behind REST.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "admind/ledger/rebuild_command.h"
#include "admind/settings/settings.h"

namespace lumen::admind {

int run_migrate(const Settings& settings);

class Commands {
 public:
    void add_to(CLI::App& app);
    /// Runs the one that was given; the exit code. Throws what the stores throw.
    int run(const CLI::App& app, Settings settings);

 private:
    std::string token_name_ = "command line";
    std::string token_scope_ = "read";
    std::string email_;
    std::string user_name_;
    std::int64_t account_ = 0;
    std::int64_t key_ = 0;
    std::string key_name_;
    RebuildOptions rebuild_;
    std::string inspected_;  ///< what kind of thing
    std::string inspected_id_;
    std::string ncsa_config_;
    std::string ncsa_database_;
    bool dry_run_ = false;
};

}  // namespace lumen::admind
