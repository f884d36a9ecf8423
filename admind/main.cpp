// lumen-admind: the command line.
#include <Poco/Exception.h>
#include <Poco/Logger.h>
#include <curl/curl.h>
#include <systemd/sd-daemon.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <iostream>

#include "admind/commands.h"
#include "admind/daemon.h"
#include "admind/doctor.h"
#include "admind/text/json_log.h"

namespace {

using namespace lumen::admind;

/// EX_CONFIG of sysexits.h, as spec/config.md has it.
constexpr int kBadConfiguration = 78;

void print_findings(const SettingsResult& result, std::ostream& out) {
    for (const Finding& finding : result.findings) {
        const char* mark = finding.severity == Finding::Severity::error ? "" : "warning: ";
        out << mark << finding.path << ": " << finding.reason << "\n";
    }
}

/// The directory that systemd gave this service; empty if it runs without. Never a shared one: what is noted there is
/// done to this daemon's book.
std::string state_directory(const Environment& environment) {
    const auto named = environment.find("STATE_DIRECTORY");
    return named == environment.end() ? std::string() : named->second.substr(0, named->second.find(':'));
}

/// A second SIGTERM or SIGINT ends the wait.
void wait_unless_told_again(std::chrono::seconds grace) {
    if (grace.count() == 0) return;
    sigset_t ends;
    sigemptyset(&ends);
    for (const int signal : {SIGTERM, SIGINT}) sigaddset(&ends, signal);
    const timespec wait{grace.count(), 0};
    sigtimedwait(&ends, nullptr, &wait);
}

int serve(Settings settings, const std::string& path, const Environment& environment) {
    start_json_log(settings.app.log_level);
    // Blocked before any thread begins, so that only this one takes them.
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    Poco::Logger& log = Poco::Logger::get("admind");
    const std::string address = settings.app.listen_host + ":" + std::to_string(settings.app.listen_port);
    Daemon daemon(std::move(settings), path, environment, state_directory(environment));
    try {
        daemon.start();
    } catch (const Poco::Exception& problem) {
        log.critical("cannot listen on " + address + ": " + problem.displayText());
        return 1;
    }
    log.information("listening on " + address);
    sd_notify(0, "READY=1");
    int signal = 0;
    while (sigwait(&signals, &signal) == 0 && signal == SIGHUP) daemon.reload();
    sd_notify(0, "STOPPING=1");
    log.information("stopping");
    daemon.leave();
    wait_unless_told_again(daemon.stop_grace());
    daemon.stop();
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);  // hiredis and libpq write to sockets that may be gone
    curl_global_init(CURL_GLOBAL_DEFAULT);

    CLI::App app{"lumen-admind: keeps Lumen's books, and serves its REST API"};
    app.require_subcommand(1);
    app.fallthrough();
    app.set_version_flag("--version", LUMEN_VERSION);
    std::string config;
    app.add_option("--config", config, "lumen.yaml; else $LUMEN_CONFIG, $CONFIG_YAML, ./lumen.yaml");
    app.add_subcommand("serve", "Run the daemon");
    app.add_subcommand("migrate", "Bring the database to this version's schema");
    std::string file_to_check;
    app.add_subcommand("check", "Say everything that is wrong with a lumen.yaml")
        ->add_option("file", file_to_check, "instead of --config");
    app.add_subcommand("doctor", "Look at files, stores, gate and model servers, and say what to do");
    Commands commands;
    commands.add_to(app);
    CLI11_PARSE(app, argc, argv);

    const Environment environment = process_environment();
    const std::string path = settings_path(file_to_check.empty() ? config : file_to_check, environment);
    SettingsResult result = load_settings(path, environment);
    const bool only_check = app.got_subcommand("check");
    print_findings(result, only_check ? std::cout : std::cerr);
    if (only_check) return result.settings ? 0 : kBadConfiguration;
    if (!result.settings) return kBadConfiguration;
    try {
        if (app.got_subcommand("serve")) return serve(std::move(*result.settings), path, environment);
        if (app.got_subcommand("migrate")) return run_migrate(*result.settings);
        if (app.got_subcommand("doctor")) return run_doctor(*result.settings, path, std::cout);
        return commands.run(app, std::move(*result.settings));
    } catch (const std::exception& problem) {
        std::cerr << "lumen-admind: " << problem.what() << "\n";
        return 1;
    }
}
