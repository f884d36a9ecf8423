#include "admind/ncsa/ncsa_import.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "admind/ncsa/ncsa_balances.h"
#include "admind/people/account_rules.h"
#include "admind/people/account_setup.h"
#include "admind/people/past_usage.h"
#include "admind/people/settings_apply.h"
#include "admind/rest/projects.h"
#include "admind/stores/pg_values.h"
#include "lumen_core/api_key.h"

namespace lumen::admind {

namespace {

constexpr const char* kImportLock = "lumen import-ncsa";
constexpr std::size_t kLongestName = 200;
constexpr std::size_t kLongestKeyName = 64;
constexpr std::size_t kLongestProjectName = 64;
constexpr std::size_t kMostRemarksOfAKind = 20;

/// At most `most` characters, cut between two of them.
std::string shortened(const std::string& text, std::size_t most) {
    std::size_t characters = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool begins = (static_cast<unsigned char>(text[i]) & 0xC0u) != 0x80u;
        if (begins && characters++ == most) return text.substr(0, i);
    }
    return text;
}

/// All of an import that is one transaction: either it came over, or nothing did.
class Importer {
 public:
    /// `beginning`: what new accounts begin with, until the rules are resolved for them.
    Importer(pqxx::transaction_base& transaction, const Settings& settings, PolicyId beginning, const NcsaData& data,
             NcsaReport& report)
        : to_(transaction), settings_(settings), data_(data), report_(report) {
        beginning_.policy = beginning;
    }

    void run() {
        to_.exec_params("select pg_advisory_xact_lock(hashtextextended($1, 0))", kImportLock);
        // The file's groups and models first, or what belongs to them would have no place.
        apply_settings(to_, settings_);
        read_done();
        import_groups();
        import_models();
        import_people();
        import_projects();
        import_memberships();
        import_keys();
        import_consents();
        import_usage();
        import_conversations();
    }

    const std::vector<AccountId>& new_accounts() const { return new_accounts_; }
    const std::vector<KeyId>& new_keys() const { return new_keys_; }
    std::map<std::int64_t, AccountId> accounts() { return done_["entity"]; }

 private:
    void remark(const char* kind, const std::string& text) {
        const std::size_t count = ++remarks_[kind];
        if (count <= kMostRemarksOfAKind) report_.remarks.push_back(std::string(kind) + ": " + text);
        if (count == kMostRemarksOfAKind + 1) report_.remarks.push_back(std::string(kind) + ": … and more of the same");
    }

    // ---- what came over before

    void read_done() {
        for (const auto& row : to_.exec("select kind, old_id, new_id from ncsa_imports")) {
            done_[row[0].as<std::string>()][row[1].as<std::int64_t>()] = row[2].as<std::int64_t>();
        }
    }
    /// 0: not yet.
    std::int64_t done(const char* kind, std::int64_t old_id) const {
        const auto of_kind = done_.find(kind);
        if (of_kind == done_.end()) return 0;
        const auto found = of_kind->second.find(old_id);
        return found == of_kind->second.end() ? 0 : found->second;
    }
    void note_done(const char* kind, std::int64_t old_id, std::int64_t new_id) {
        to_.exec_params0("insert into ncsa_imports (kind, old_id, new_id) values ($1, $2, $3)", kind, old_id, new_id);
        done_[kind][old_id] = new_id;
    }

    // ---- groups and models

    void import_groups() {
        NcsaReport::Counts& counts = report_.kinds["groups"];
        for (const NcsaGroup& old : data_.groups) {
            ++counts.found;
            const auto there = to_.exec_params("select id from groups where name = $1", old.name);
            if (there.empty() && (old.name.empty() || old.name.size() > 64)) {
                ++counts.skipped;
                remark("groups", "`" + shortened(old.name, 64) + "`: a group's name has 1 to 64 characters");
                continue;
            }
            if (there.empty()) {
                apply_group(to_, group_settings(old), ManagedBy::admin);
                ++counts.made;
            } else {
                ++counts.there;
            }
            group_names_[old.id] = old.name;
        }
    }

    static AccessSettings access_settings(const NcsaAccess& old) {
        AccessSettings access;
        if (old.allows_by_default) access.fallback = *old.allows_by_default ? AccessRule::allowed : AccessRule::blocked;
        access.allowed = old.allowed;
        access.blocked = old.blocked;
        return access;
    }

    static GroupSettings group_settings(const NcsaGroup& old) {
        GroupSettings group;
        group.name = old.name;
        group.description = old.description;
        group.active = old.active;
        group.access = access_settings(old.access);
        if (old.limits) group.budget = budget(*old.limits);
        return group;
    }

    static BudgetRule budget(const NcsaLimits& old) {
        BudgetRule rule;
        rule.kind = old.max_nano == -2 ? MaxKind::unlimited : old.max_nano == 0 ? MaxKind::zero : MaxKind::limited;
        if (rule.kind == MaxKind::limited) rule.max = NanoCoins(old.max_nano);
        rule.refresh = old.refresh;
        rule.starting = old.starting;
        return rule;
    }

    /// A model that the file no longer has keeps its history under its name, turned off.
    void import_models() {
        NcsaReport::Counts& counts = report_.kinds["models"];
        for (const std::string& name : data_.models) {
            ++counts.found;
            const auto made = to_.exec_params(
                "insert into models (name, disabled, removed, managed_by) values ($1, true, true, 'admin')"
                " on conflict (name) do nothing returning id",
                name);
            ++(made.empty() ? counts.there : counts.made);
            if (!made.empty()) remark("models", "`" + name + "` is in no file: only its history is kept");
        }
        for (const auto& row : to_.exec("select name, id, notice_version from models")) {
            models_[row[0].as<std::string>()] = {row[1].as<ModelId>(), row[2].as<std::int32_t>()};
        }
    }

    // ---- people and projects

    void import_people() {
        NcsaReport::Counts& counts = report_.kinds["users"];
        for (const NcsaEntity& old : data_.entities) {
            if (old.project) continue;
            ++counts.found;
            if (done("entity", old.id) > 0) {
                ++counts.there;
            } else if (!is_email(old.email)) {
                ++counts.skipped;
                remark("users", "entity " + std::to_string(old.id) + " has no usable address");
            } else if (const AccountId account = find("select account_id from users where email = $1", old.email);
                       account > 0) {
                ++counts.there;
                note_done("entity", old.id, account);
            } else {
                ++counts.made;
                make_person(old);
            }
        }
    }

    void make_person(const NcsaEntity& old) {
        const AccountId account = make_account(old, AccountOwner::user);
        const std::string name = shortened(old.name.empty() ? old.email : old.name, kLongestName);
        to_.exec_params0(
            "insert into users (account_id, email, name, active, joined_at)"
            " values ($1, $2, $3, $4, $5::timestamptz)",
            account, old.email, name, old.active, old.created_at);
        apply_rules(old, account);
        apply_user_settings(to_, settings_, old.email, account);
    }

    void import_projects() {
        NcsaReport::Counts& counts = report_.kinds["projects"];
        for (const NcsaEntity& old : data_.entities) {
            if (!old.project) continue;
            ++counts.found;
            if (done("entity", old.id) > 0) {
                ++counts.there;
                continue;
            }
            const std::string name = free_project_name(old);
            if (name != old.name) remark("projects", "`" + shortened(old.name, 80) + "` is `" + name + "` here");
            ++counts.made;
            make_project(old, name);
        }
    }

    /// Names are one project's alone here, and lumen.yaml's word for all others is none.
    std::string free_project_name(const NcsaEntity& old) {
        const std::string mark = " (" + std::to_string(old.id) + ")";
        const std::string name = shortened(old.name, kLongestProjectName);
        const bool taken =
            name.empty() || name == "default" || find("select 1 from projects where name = $1", name) > 0;
        return taken ? shortened(name, kLongestProjectName - mark.size()) + mark : name;
    }

    void make_project(const NcsaEntity& old, const std::string& name) {
        const AccountId account = make_account(old, AccountOwner::project);
        const std::int64_t owner = user_of(old.owner);
        const auto project = to_.exec_params1(
            "insert into projects (account_id, name, owner_id, active, created_at)"
            " values ($1, $2, nullif($3::bigint, 0), $4, $5::timestamptz) returning id",
            account, name, owner, old.active, old.created_at)[0];
        for (const std::int64_t manager : old.managers) {
            if (const std::int64_t user = user_of(manager); user > 0) {
                add_project_manager(to_, project.as<std::int64_t>(), user);
            } else {
                remark("projects",
                       "`" + name + "`: entity " + std::to_string(manager) + ", a manager, did not come over");
            }
        }
        apply_rules(old, account);
        apply_project_settings(to_, settings_, name, account);
    }

    AccountId make_account(const NcsaEntity& old, AccountOwner owner) {
        const AccountId account = insert_account(to_, owner, beginning_);
        if (!old.active) set_account_active(to_, account, false);
        note_done("entity", old.id, account);
        new_accounts_.push_back(account);
        return account;
    }

    /// The first column of the first row; 0: there is none.
    std::int64_t find(const char* query, const std::string& text) {
        const auto rows = to_.exec_params(query, text);
        return rows.empty() ? 0 : rows[0][0].as<std::int64_t>();
    }
    std::int64_t user_of(std::int64_t entity) {
        return find("select id from users where account_id = $1", std::to_string(done("entity", entity)));
    }

    /// What an administrator had set there; what its file stated is stated by the file here too. Starting coins were
    /// given long ago: the balance that comes over is what is left of them.
    void apply_rules(const NcsaEntity& old, AccountId account) {
        const bool limits = old.limits && !old.limits->from_config;
        const AccessSettings access = access_settings(old.access);
        to_.exec_params0(
            "insert into account_rules (account_id, starting_done, limits_from, max_nano, refresh_nano, starting_nano,"
            " access_from, access_default, allowed, blocked) values ($1, true, case when $2 then 'admin' end,"
            " case when $2 then $3::bigint end, case when $2 then $4::bigint end, case when $2 then $5::bigint end,"
            " case when $6 then 'admin' end, nullif($7, '')::smallint,"
            " array(select jsonb_array_elements_text($8::jsonb)), array(select jsonb_array_elements_text($9::jsonb)))",
            account, limits, limits ? old.limits->max_nano : 0, limits ? old.limits->refresh.nano() : 0,
            limits ? old.limits->starting.nano() : 0, access.said(),
            access.fallback ? std::to_string(static_cast<int>(*access.fallback)) : std::string(),
            sql_texts(access.allowed), sql_texts(access.blocked));
        if (limits && old.limits->max_nano == 0) {
            remark("limits",
                   (old.project ? old.name : old.email) + " has max 0: here that blocks, whatever the balance");
        }
    }

    /// Those by its file or rules end when the person signs in and the claims no longer say so, as they did there.
    void import_memberships() {
        NcsaReport::Counts& counts = report_.kinds["memberships"];
        for (const NcsaMembership& old : data_.memberships) {
            ++counts.found;
            const AccountId account = done("entity", old.entity);
            const auto group = group_names_.find(old.group);
            if (account == 0 || group == group_names_.end()) {
                ++counts.skipped;
                continue;
            }
            const auto made = to_.exec_params(
                "insert into memberships (account_id, group_id, via) select $1, id, $3 from groups where name = $2"
                " on conflict do nothing returning 1",
                account, group->second, old.from_config ? "rule" : "manual");
            ++(made.empty() ? counts.there : counts.made);
        }
    }

    // ---- keys

    void import_keys() {
        NcsaReport::Counts& counts = report_.kinds["keys"];
        for (const NcsaKey& old : data_.keys) {
            ++counts.found;
            const AccountId account = done("entity", old.entity);
            const auto hash = key_hash_of_hex(old.hash_hex);
            if (done("key", old.id) > 0) {
                ++counts.there;
                continue;
            }
            if (account == 0 || !hash) {
                ++counts.skipped;
                remark("keys", "key " + std::to_string(old.id) +
                                   (hash ? " belongs to nobody who came over" : " has no readable hash"));
                continue;
            }
            if (!to_.exec_params("select 1 from api_keys where key_hash = $1",
                                 pqxx::binarystring(hash->data(), hash->size()))
                     .empty()) {
                ++counts.skipped;
                remark("keys", "key " + std::to_string(old.id) + " is somebody's here already");
                continue;
            }
            NewKey key;
            key.account = account;
            key.name = shortened(old.name.empty() ? old.hint : old.name, kLongestKeyName);
            key.hint = old.hint;
            key.hash = *hash;
            key.secret_id = installation_secret_id(settings_.app.encryption_key);
            key.limits = key_limits(settings_.rates);
            const KeyId id = insert_key(to_, key);
            to_.exec_params0("update api_keys set created_at = $2::timestamptz where id = $1", id, old.created_at);
            // Turned off there can be turned on again, as a paused key can.
            if (!old.active) set_key_paused(to_, account, id, true);
            add_key_totals(to_, account, id, {old.requests, old.tokens_in, old.tokens_out, old.cost, old.last_used_at});
            note_done("key", old.id, id);
            new_keys_.push_back(id);
            ++counts.made;
        }
    }

    // ---- consents

    void import_consents() {
        NcsaReport::Counts& counts = report_.kinds["consents"];
        for (const NcsaConsent& old : data_.consents) {
            ++counts.found;
            const AccountId account = done("entity", old.entity);
            const auto model = models_.find(old.model);
            if (account == 0 || model == models_.end()) {
                ++counts.skipped;
                continue;
            }
            const auto made = to_.exec_params(
                "insert into consents (account_id, model_id, notice_ver, at) values ($1, $2, $3, $4::timestamptz)"
                " on conflict do nothing returning 1",
                account, model->second.id, model->second.notice_version, old.at);
            ++(made.empty() ? counts.there : counts.made);
            if (!made.empty()) to_.exec_params0("update accounts set cfg_ver = cfg_ver + 1 where id = $1", account);
            if (!made.empty()) consenting_.insert(account);
        }
        for (const AccountId account : consenting_) {
            if (std::find(new_accounts_.begin(), new_accounts_.end(), account) == new_accounts_.end()) {
                new_accounts_.push_back(account);
            }
        }
    }

    // ---- usage

    /// Once per entity, all of it at once: counters are added to, so a second time would count twice.
    void import_usage() {
        NcsaReport::Counts& counts = report_.kinds["usage"];
        std::map<std::int64_t, std::vector<const NcsaUsage*>> by_entity;
        for (const NcsaUsage& one : data_.usage) by_entity[one.entity].push_back(&one);
        for (const NcsaEntity& old : data_.entities) {
            const AccountId account = done("entity", old.id);
            const auto rows = by_entity.find(old.id);
            const std::int64_t slots = rows == by_entity.end() ? 0 : static_cast<std::int64_t>(rows->second.size());
            counts.found += slots;
            if (account == 0) {
                counts.skipped += slots;
                continue;
            }
            if (done("usage", old.id) > 0) {
                counts.there += slots;
                continue;
            }
            if (slots > 0) import_usage_of(account, old.id, rows->second);
            counts.made += slots;
            note_done("usage", old.id, account);
        }
    }

    void import_usage_of(AccountId account, std::int64_t entity, const std::vector<const NcsaUsage*>& rows) {
        PastSums of_keys;
        for (const NcsaKey& key : data_.keys) {
            if (key.entity == entity) of_keys.add({key.requests, key.tokens_in, key.tokens_out, key.cost, ""});
        }
        std::vector<PastRow> usage;
        for (const NcsaUsage* one : rows) {
            usage.push_back({models_.at(one->model).id,
                             one->chat,
                             one->slot,
                             {one->requests, one->tokens_in, one->tokens_out, one->cost, one->last_at}});
        }
        for (const KeyId key : add_past_usage(to_, account, usage, of_keys)) new_keys_.push_back(key);
    }

    void import_conversations() {
        NcsaReport::Counts& counts = report_.kinds["conversations"];
        for (const NcsaEntity& old : data_.entities) {
            counts.found += old.conversations;
            const AccountId account = done("entity", old.id);
            if (account == 0 || old.conversations == 0) {
                counts.skipped += old.conversations;
                continue;
            }
            const auto made = to_.exec_params(
                "insert into account_conversations (account_id, conversations) values ($1, $2)"
                " on conflict do nothing returning 1",
                account, old.conversations);
            (made.empty() ? counts.there : counts.made) += old.conversations;
        }
    }

    struct ModelHere {
        ModelId id = 0;
        std::int32_t notice_version = 1;
    };

    pqxx::transaction_base& to_;
    const Settings& settings_;
    const NcsaData& data_;
    NcsaReport& report_;
    AccountSettings beginning_;
    std::map<std::string, std::map<std::int64_t, std::int64_t>, std::less<>> done_;
    std::map<std::int64_t, std::string> group_names_;
    std::map<std::string, ModelHere> models_;
    std::map<std::string, std::size_t> remarks_;
    std::vector<AccountId> new_accounts_;
    std::set<AccountId> consenting_;
    std::vector<KeyId> new_keys_;
};

}  // namespace

NcsaReport import_ncsa(const Services& services, const Settings& settings, const NcsaData& data, ImportMode mode) {
    NcsaReport report;
    // Without the pool's time-outs: a large history takes its time.
    pqxx::connection connection(settings.app.database_url);
    pqxx::work transaction(connection);
    // Published before any account names it; a dry run publishes nothing.
    const PolicyId beginning =
        mode == ImportMode::dry_run ? policy_of(transaction, ResolvedAccount{}) : policy_that_blocks_all(services);
    Importer importer(transaction, settings, beginning, data, report);
    importer.run();
    if (mode == ImportMode::dry_run) {
        import_balances(services, data, importer.accounts(), mode, report);
        return report;  // the transaction is rolled back
    }
    transaction.commit();
    settle_all_accounts(services, settings);
    for (const AccountId account : importer.new_accounts()) {
        if (services.ledger.enforce_account(account) == InForce::not_yet) report.pending = true;
    }
    for (const KeyId key : importer.new_keys()) {
        if (services.ledger.enforce_key(key) == InForce::not_yet) report.pending = true;
    }
    import_balances(services, data, importer.accounts(), mode, report);
    return report;
}

}  // namespace lumen::admind
