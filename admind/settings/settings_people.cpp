#include <algorithm>
#include <set>

#include "admind/settings/settings_sections.h"

namespace lumen::admind {

namespace {

struct CoinsBlock {
    std::optional<BudgetRule> budget;
    std::optional<bool> strict;
};

std::optional<bool> read_mode(Section& section) {
    if (!section.has("mode")) {
        section.raw("mode");
        return std::nullopt;
    }
    return section.word("mode", "soft", {"soft", "strict"}) == "strict";
}

/// max, refresh, starting and mode of a block; `defaults` fills in what it leaves out (spec/config.md §4).
CoinsBlock read_coins(Section& section, const BudgetRule* defaults) {
    CoinsBlock block;
    block.strict = read_mode(section);
    const bool said = section.has("max") || section.has("refresh") || section.has("starting");
    const auto max = section.amount("max", AmountKind::max);
    const auto refresh = section.amount("refresh", AmountKind::not_negative);
    const auto starting = section.amount("starting", AmountKind::not_negative);
    if (!said && defaults != nullptr) return block;

    BudgetRule rule;
    if (max) {
        rule.kind = *max == NanoCoins(-2)  ? MaxKind::unlimited
                    : *max == NanoCoins(0) ? MaxKind::zero
                                           : MaxKind::limited;
        if (rule.kind == MaxKind::limited) rule.max = *max;
    } else if (defaults != nullptr) {
        rule.kind = defaults->kind;
        rule.max = defaults->max;
    }
    rule.refresh = refresh.value_or(defaults != nullptr ? defaults->refresh : NanoCoins(0));
    rule.starting = starting.value_or(max || defaults == nullptr ? rule.max : defaults->starting);
    block.budget = rule;
    return block;
}

AccessSettings read_access(Section& section) {
    AccessSettings access;
    Section lists = section.section("model_access");
    lists.renamed("whitelist", "allowed");
    lists.renamed("blacklist", "blocked");
    access.fallback = lists.access("default");
    access.allowed = lists.texts("allowed");
    access.blocked = lists.texts("blocked");
    for (const std::string& name : lists.texts("graylist")) {
        lists.warning("graylist", "is `allowed` plus `needs_ack` on the model here");
        access.allowed.push_back(name);
        access.graylisted.push_back(name);
    }
    const auto take_star = [&](std::vector<std::string>& names, const char* key, AccessRule rule) {
        const auto star = std::remove(names.begin(), names.end(), "*");
        if (star == names.end()) return;
        names.erase(star, names.end());
        lists.warning(key, "`*` is `default` here");
        if (!access.fallback) access.fallback = rule;
    };
    take_star(access.blocked, "blocked", AccessRule::blocked);
    take_star(access.allowed, "allowed", AccessRule::allowed);
    for (const std::string& name : access.allowed) {
        if (std::find(access.blocked.begin(), access.blocked.end(), name) != access.blocked.end()) {
            lists.warning("allowed", "`" + name + "` is blocked as well, and blocked wins");
        }
    }
    lists.finish();
    return access;
}

std::vector<ClaimRule> read_rules(Section& section, SettingsReport& report) {
    std::vector<ClaimRule> rules;
    for (const Section::Item& item : section.list("rules")) {
        Section entry(report, item.node, item.path);
        ClaimRule rule;
        rule.field = entry.text("field", "");
        rule.contains = entry.text("contains");
        rule.equals = entry.text("equals");
        const bool matcher = (rule.contains && !rule.contains->empty()) || (rule.equals && !rule.equals->empty());
        if (rule.field.empty() || !matcher) report.warning(item.path, "can never match");
        entry.finish();
        rules.push_back(std::move(rule));
    }
    return rules;
}

EntitySettings read_entity(Section section, const std::string& name, const BudgetRule& defaults) {
    EntitySettings entity;
    entity.name = name;
    entity.groups = section.texts("groups");
    CoinsBlock coins = read_coins(section, &defaults);
    if (section.has("pool")) {
        Section pool = section.section("pool");
        section.warning("pool", "its keys belong one level up; it alone counts");
        coins = read_coins(pool, &defaults);
        pool.finish();
    }
    entity.budget = std::move(coins.budget);
    entity.strict = coins.strict;
    entity.access = read_access(section);
    if (section.has("models")) {
        section.warning("models", "is `model_access.allowed` here");
        const auto names = section.texts("models");
        if (!entity.access.said()) entity.access.allowed = names;
    }
    section.finish();
    return entity;
}

}  // namespace

GroupSettings read_group(Section section, SettingsReport& report, const std::string& name, const BudgetRule& defaults) {
    GroupSettings group;
    group.name = name;
    group.description = section.text("description", "");
    CoinsBlock coins = read_coins(section, &defaults);
    group.budget = std::move(coins.budget);
    if (group.budget) {
        group.budget->name = name;
        group.budget->strict = coins.strict;
    }
    group.strict = coins.strict;
    group.access = read_access(section);
    group.rules = read_rules(section, report);
    section.no_effect({"models"});
    section.finish();
    return group;
}

void read_people(Section& root, SettingsReport& report, Settings& settings) {
    Section defaults = root.section("defaults");
    Section tokens = defaults.section("tokens");
    CoinsBlock coins = read_coins(tokens, nullptr);
    settings.default_budget = coins.budget.value_or(BudgetRule{});
    settings.default_strict = coins.strict.value_or(false);
    tokens.finish();
    Section models = defaults.section("models");
    settings.default_access = models.access("access").value_or(AccessRule::blocked);
    models.text("ack_message");  // read with the models it is a default for
    models.finish();
    defaults.finish();

    Section groups = root.section("groups");
    for (const std::string& name : groups.keys()) {
        if (name.empty() || name.size() > 64) {
            report.error(groups.path_of(name), "a group's name has 1 to 64 characters");
            continue;
        }
        settings.groups.push_back(read_group(groups.section(name), report, name, settings.default_budget));
    }

    Section users = root.section("users");
    for (const std::string& name : users.keys()) {
        if (name == "default") {
            Section every = users.section(name);
            settings.every_user_groups = every.texts("groups");
            every.finish();
            continue;
        }
        const std::string email = normalised_email(name);
        if (!is_email(email)) {
            report.error(users.path_of(name), "not an email address");
            continue;
        }
        settings.users.push_back(read_entity(users.section(name), email, settings.default_budget));
    }

    Section projects = root.section("projects");
    for (const std::string& name : projects.keys()) {
        EntitySettings project = read_entity(projects.section(name), name, settings.default_budget);
        if (name == "default")
            settings.project_default = std::move(project);
        else
            settings.projects.push_back(std::move(project));
    }
}

void cross_check(SettingsReport& report, Settings& settings) {
    std::set<std::string> models;
    for (const ModelSettings& model : settings.models) models.insert(model.name);
    std::set<std::string> groups{"default"};
    for (const GroupSettings& group : settings.groups) groups.insert(group.name);

    const auto check_access = [&](const std::string& path, const AccessSettings& access) {
        for (const auto* names : {&access.allowed, &access.blocked}) {
            for (const std::string& name : *names) {
                if (models.count(name) == 0) report.warning(path + ".model_access", "no model `" + name + "`");
            }
        }
    };
    const auto ask_for_consent = [&](const AccessSettings& access) {
        for (const std::string& name : access.graylisted) {
            for (ModelSettings& model : settings.models) model.needs_ack = model.needs_ack || model.name == name;
        }
    };
    for (const GroupSettings& group : settings.groups) ask_for_consent(group.access);
    for (const EntitySettings& user : settings.users) ask_for_consent(user.access);
    for (const EntitySettings& project : settings.projects) ask_for_consent(project.access);
    if (settings.project_default) ask_for_consent(settings.project_default->access);
    const auto check_groups = [&](const std::string& path, const std::vector<std::string>& names) {
        for (const std::string& name : names) {
            if (groups.count(name) == 0) report.warning(path + ".groups", "no group `" + name + "`");
        }
    };
    for (const GroupSettings& group : settings.groups) check_access("groups." + group.name, group.access);
    check_groups("users.default", settings.every_user_groups);
    for (const EntitySettings& user : settings.users) {
        check_access("users." + user.name, user.access);
        check_groups("users." + user.name, user.groups);
    }
    for (const EntitySettings& project : settings.projects) {
        check_access("projects." + project.name, project.access);
        check_groups("projects." + project.name, project.groups);
    }
    if (settings.app.dev_user) check_groups("app.dev_user", settings.app.dev_user->groups);
}

}  // namespace lumen::admind
