#include "admind/commands.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>

#include "admind/bounds.h"
#include "admind/ledger/inspect.h"
#include "admind/ledger/reconcile_job.h"
#include "admind/ncsa/ncsa_import.h"
#include "admind/people/account_setup.h"
#include "admind/people/operator_tokens.h"
#include "admind/people/secret_rotation.h"
#include "admind/people/sessions.h"
#include "admind/rest/key_setup.h"
#include "admind/stores/migrations.h"

namespace lumen::admind {

namespace {

constexpr const char* kActor = "command line";

/// The daemon's parts, as far as one command needs them.
struct Workshop {
    explicit Workshop(Settings settings)
        : live(std::move(settings)),
          postgres(live.current()->app.database_url, 2, live.current()->app.database_pool_timeout),
          redis(live.current()->redis_url, 2, kRedisTimeout),
          book(postgres, redis),
          publisher(live, postgres, redis),
          endpoints(redis),
          services{live, postgres, redis, book, publisher, endpoints} {}
    LiveSettings live;
    PgPool postgres;
    RedisPool redis;
    LedgerBook book;
    CataloguePublisher publisher;
    EndpointStates endpoints;
    Services services;
};

int say(InForce in_force) {
    if (in_force == InForce::yes) return 0;
    std::cerr << "recorded, but not yet in force: Redis is away; the daemon repeats it\n";
    return 1;
}

int create_token(Workshop& workshop, const std::string& name, const std::string& scope) {
    PgPool::Lease lease = workshop.postgres.acquire();
    pqxx::work transaction(*lease);
    const NewOperatorToken made = create_operator_token(transaction, workshop.live.current()->app.encryption_key, name,
                                                        *scope_of(scope), 0, kActor);
    transaction.commit();
    std::cout << made.secret << "\n";
    return 0;
}

int make_user(Workshop& workshop, const std::string& address, const std::string& name) {
    const std::string email = normalised_email(address);
    if (!is_email(email)) {
        std::cerr << "not an email address\n";
        return 1;
    }
    const std::string shown = name.empty() ? email.substr(0, email.find('@')) : name;
    const NewUserResult made = create_user(workshop.services, *workshop.live.current(), email, shown, {});
    if (!made.user) {
        std::cerr << "there is a user with this address\n";
        return 1;
    }
    std::cout << "user " << made.user->user << " account " << made.user->account << "\n";
    return say(made.in_force);
}

int activate_user(Workshop& workshop, const std::string& address, bool active) {
    std::int64_t user = 0;
    AccountId account = 0;
    {
        PgPool::Lease lease = workshop.postgres.acquire();
        pqxx::work transaction(*lease);
        const auto rows =
            transaction.exec_params("select id, account_id from users where email = $1", normalised_email(address));
        if (rows.empty()) {
            std::cerr << "there is no user with this address\n";
            return 1;
        }
        user = rows[0][0].as<std::int64_t>();
        account = rows[0][1].as<AccountId>();
        set_user_active(transaction, user, account, active);
        transaction.commit();
    }
    const InForce in_force = workshop.book.enforce_account(account);
    if (!active && in_force == InForce::yes) {
        RedisPool::Lease redis = workshop.services.redis.acquire();
        end_sessions_of(*redis, user, account, unix_ms_now());
    }
    return say(in_force);
}

int create_key(Workshop& workshop, AccountId account, const std::string& name) {
    const std::shared_ptr<const Settings> settings = workshop.live.current();
    NewKey key;
    key.account = account;
    key.name = name;
    key.limits = key_limits(settings->rates);
    const std::string secret = fill_in_secret(key, settings->app.encryption_key);
    KeyId id = 0;
    {
        PgPool::Lease lease = workshop.postgres.acquire();
        pqxx::work transaction(*lease);
        id = insert_key(transaction, key);
        transaction.commit();
    }
    std::cout << secret << "\n";
    return say(workshop.book.enforce_key(id));
}

int revoke_key(Workshop& workshop, AccountId account, KeyId key) {
    const auto revocation = workshop.book.revoke_key(account, key, kActor);
    if (!revocation.found) {
        std::cerr << "this account has no such key\n";
        return 1;
    }
    return say(revocation.in_force);
}

/// Where NCSA Lumen's database is, and whether its keys can work here: from its own config.yaml.
std::optional<std::string> ncsa_database(const Settings& here, const std::string& config, const std::string& database) {
    if (config.empty()) {
        if (database.empty()) std::cerr << "name NCSA Lumen's config.yaml, or its database with --database\n";
        return database.empty() ? std::nullopt : std::optional(database);
    }
    // Its own environment is not ours: what the file says counts.
    const SettingsResult there = load_settings(config, Environment{});
    if (!there.settings) {
        for (const Finding& finding : there.findings) {
            if (finding.severity == Finding::Severity::error)
                std::cerr << finding.path << ": " << finding.reason << "\n";
        }
        return std::nullopt;
    }
    if (there.settings->app.encryption_key != here.app.encryption_key) {
        std::cerr << "app.encryption_key differs from NCSA Lumen's: its keys would not work here\n";
        return std::nullopt;
    }
    return database.empty() ? there.settings->app.database_url : database;
}

void print_report(const NcsaReport& report, bool dry_run) {
    for (const auto& [kind, counts] : report.kinds) {
        std::cout << kind << ": " << counts.found << " found, " << counts.made << (dry_run ? " would come" : " came")
                  << " over, " << counts.there << " there before, " << counts.skipped << " skipped\n";
    }
    for (const std::string& remark : report.remarks) std::cout << remark << "\n";
}

/// Compares the two stores now; silence is agreement.
int reconcile(Workshop& workshop) {
    RedisLink redis(workshop.live.current()->redis_url, kRedisTimeout);
    std::size_t drifts = 0;
    for (int bucket = 0; bucket < kBuckets; ++bucket) {
        for (const Drift& drift : reconcile_bucket(workshop.postgres, redis, static_cast<Bucket>(bucket))) {
            std::cout << "account " << drift.account << ": " << drift.what << " by " << format_coins(drift.amount)
                      << " coins\n";
            ++drifts;
        }
    }
    return drifts == 0 ? 0 : 1;
}

/// True if one does not know the secret in force: keys made under it fail there.
bool say_secrets_of_gates(Workshop& workshop, const std::string& in_force) {
    RedisLink redis(workshop.live.current()->redis_url, kRedisTimeout);
    bool behind = false;
    for (const auto& [gate, secrets] : secrets_of_gates(redis)) {
        std::cout << "gate " << gate << " knows";
        for (const std::string& secret : secrets) std::cout << " " << secret;
        const bool knows = std::find(secrets.begin(), secrets.end(), in_force) != secrets.end();
        std::cout << (knows ? "\n" : ", not the one in force\n");
        behind = behind || !knows;
    }
    return behind;
}

/// Says what the secret before is still needed for; 0: for nothing.
int say_left_behind(Workshop& workshop) {
    const std::shared_ptr<const Settings> settings = workshop.live.current();
    PgPool::Lease lease = workshop.postgres.acquire();
    pqxx::work transaction(*lease);
    const LeftBehind left = left_behind(transaction, settings->app);
    std::cout << "secret " << installation_secret_id(settings->app.encryption_key)
              << " in force; under another one: " << left.key_count << " keys, " << left.token_count
              << " operator tokens\n";
    const bool gate_behind = say_secrets_of_gates(workshop, installation_secret_id(settings->app.encryption_key));
    for (const LeftBehind::Key& key : left.keys) {
        std::cout << "key " << key.id << " " << key.hint << " \"" << key.name << "\" of " << key.owner << ", last used "
                  << (key.last_used_ms == 0 ? "never" : utc_text(key.last_used_ms)) << "\n";
    }
    return left.none() && !gate_behind ? 0 : 1;
}

int inspect_one(Workshop& workshop, const std::string& what, const std::string& id) {
    RedisLink redis(workshop.live.current()->redis_url, kRedisTimeout);
    if (inspect(redis, what, id, std::cout)) return 0;
    std::cerr << "Redis has no such " << what << "\n";
    return 1;
}

int import_from_ncsa(Workshop& workshop, const std::string& config, const std::string& database, bool dry_run) {
    const std::shared_ptr<const Settings> settings = workshop.live.current();
    if (!settings->app.previous_encryption_key.empty()) {
        // Under which of the two its keys are could not be told, and what was counted as left behind would be wrong.
        std::cerr << "not while app.previous_encryption_key is set: end the change of the secret first\n";
        return 1;
    }
    const auto source = ncsa_database(*settings, config, database);
    if (!source) return 1;
    if (*source == settings->app.database_url) {
        std::cerr << "Lumen needs a database of its own: app.database.url is NCSA Lumen's\n";
        return 1;
    }
    const auto began = std::chrono::steady_clock::now();
    const NcsaReport report =
        import_ncsa(workshop.services, *settings, read_ncsa(*source), dry_run ? ImportMode::dry_run : ImportMode::real);
    print_report(report, dry_run);
    const auto took =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
    std::cout << "took " << took << " ms\n";
    if (dry_run) {
        std::cout << "a dry run: nothing was written\n";
        return 0;
    }
    if (report.pending) std::cout << "recorded, but not all of it is in force: the daemon goes on with it\n";
    const int drift = reconcile(workshop);
    std::cout << (drift == 0 ? "reconciled: Redis and the book agree\n" : "Redis and the book do not agree\n");
    return drift;
}

}  // namespace

int run_migrate(const Settings& settings) {
    for (const std::string& name : migrate(settings.app.database_url)) std::cout << "applied " << name << "\n";
    return 0;
}

void Commands::add_to(CLI::App& app) {
    CLI::App* token = app.add_subcommand("token", "Operator tokens")->require_subcommand(1);
    CLI::App* create = token->add_subcommand("create", "Make one; it is printed this once");
    create->add_option("--scope", token_scope_, "read, write or admin")
        ->check(CLI::IsMember({"read", "write", "admin"}));
    create->add_option("--name", token_name_, "what it is for")->check([](const std::string& name) {
        return name.empty() || name.size() > 64 ? "1 to 64 characters" : "";
    });

    CLI::App* user = app.add_subcommand("user", "Users")->require_subcommand(1);
    CLI::App* user_create = user->add_subcommand("create", "Make one, before the first sign-in");
    user_create->add_option("email", email_)->required();
    user_create->add_option("--name", user_name_, "default: what is before the @");
    user->add_subcommand("deactivate", "Ends sessions and keys at once")->add_option("email", email_)->required();
    user->add_subcommand("activate", "Undo that")->add_option("email", email_)->required();

    CLI::App* key = app.add_subcommand("key", "API keys")->require_subcommand(1);
    CLI::App* key_create = key->add_subcommand("create", "Make one; it is printed this once");
    key_create->add_option("--account", account_)->required();
    key_create->add_option("--name", key_name_)->required();
    CLI::App* key_revoke = key->add_subcommand("revoke", "New requests with it fail at once");
    key_revoke->add_option("--account", account_)->required();
    key_revoke->add_option("--key", key_)->required();
    app.add_subcommand("reconcile", "Compare Redis with the book; what differs is printed, nothing is repaired");
    CLI::App* rebuild =
        app.add_subcommand("rebuild", "Put every bucket of Redis into service, from the book where needed");
    CLI::Option* from = rebuild->add_option("--from", rebuild_.from, "which store is right where the two contradict");
    from->check(CLI::IsMember({"redis", "book"}));
    rebuild->add_flag("--all", rebuild_.all, "all buckets, also those without a contradiction")->needs(from);
    rebuild->add_option("--spool", rebuild_.spool, "directory for events that are in neither store afterwards")
        ->default_val(std::filesystem::temp_directory_path().string())
        ->check(CLI::ExistingDirectory);
    app.add_subcommand("secret", "What still needs the installation secret before this one; exit code 0: nothing");
    CLI::App* inspected = app.add_subcommand("inspect", "What Redis holds of an account, key, hold or bucket");
    inspected->add_option("what", inspected_, "account, key, hold (a request id) or bucket")
        ->required()
        ->check(CLI::IsMember({"account", "key", "hold", "bucket"}));
    inspected->add_option("id", inspected_id_)->required();
    CLI::App* ncsa = app.add_subcommand("import-ncsa", "Bring over what NCSA Lumen's database holds; may be run again");
    ncsa->add_option("config", ncsa_config_, "its config.yaml, for its database and its key secret");
    ncsa->add_option("--database", ncsa_database_, "its database, instead of the one its config.yaml names");
    ncsa->add_flag("--dry-run", dry_run_, "say what would come over, write nothing");
    ncsa->fallthrough();
    for (CLI::App* group : {token, user, key}) {
        group->fallthrough();
        for (CLI::App* command : group->get_subcommands({})) command->fallthrough();
    }
}

int Commands::run(const CLI::App& app, Settings settings) {
    const auto given = [&](const char* group, const char* command) {
        return app.got_subcommand(group) && app.get_subcommand(group)->got_subcommand(command);
    };
    if (app.got_subcommand("rebuild")) {
        rebuild_.actor = kActor;
        return run_rebuild(settings, rebuild_);
    }
    Workshop workshop(std::move(settings));
    if (app.got_subcommand("reconcile")) return reconcile(workshop);
    if (app.got_subcommand("secret")) return say_left_behind(workshop);
    if (app.got_subcommand("inspect")) return inspect_one(workshop, inspected_, inspected_id_);
    if (app.got_subcommand("import-ncsa")) return import_from_ncsa(workshop, ncsa_config_, ncsa_database_, dry_run_);
    if (given("token", "create")) return create_token(workshop, token_name_, token_scope_);
    if (given("user", "create")) return make_user(workshop, email_, user_name_);
    if (given("user", "deactivate")) return activate_user(workshop, email_, false);
    if (given("user", "activate")) return activate_user(workshop, email_, true);
    if (given("key", "create")) return create_key(workshop, account_, key_name_);
    return revoke_key(workshop, account_, key_);
}

}  // namespace lumen::admind
