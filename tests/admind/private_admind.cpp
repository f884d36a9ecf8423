#include "tests/admind/private_admind.h"

#include <Poco/Net/HTTPClientSession.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/StreamCopier.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>
#include <thread>

#include "admind/people/operator_tokens.h"
#include "admind/people/sessions.h"
#include "admind/rest/http_server.h"
#include "admind/stores/migrations.h"
#include "lumen_core/catalogue.h"
#include "tests/admind/private_contract.h"
#include "tests/admind/private_ledger.h"

namespace lumen::admind {

namespace {

constexpr const char* kSharedSettings = R"(
rate_limiting: {limit: 100000 per minute, login: 100000 per minute, write: 100000 per minute}
api: {prometheus: {enabled: true, token: metrics-token}}
defaults: {models: {access: allowed}}
groups:
  default: {}
  staff: {max: 20, refresh: 0.05, starting: 7, model_access: {blocked: [kept-back]}}
users:
  configured@example.edu: {max: 30, groups: [staff]}
models:
  - {name: plain, input_cost_per_million: 0.15, output_cost_per_million: 0.6,
     endpoints: [{id: one, url: "http://127.0.0.1:9/v1", api_key: the-upstream-secret}]}
  - {name: asks, needs_ack: true, ack_message: Read this first., input_cost_per_million: 1}
  - {name: kept-back, input_cost_per_million: 1}
  - {name: hidden, access: blocked, hide_when_blocked: true, needs_ack: true, input_cost_per_million: 1}
  - {name: off, disabled: true, needs_ack: true, input_cost_per_million: 1}
)";

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
    return text;
}

}  // namespace

std::string HttpReply::header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
}

PrivateAdmind::PrivateAdmind(const std::string& models_and_more) : database(new_database()) {
    operator_token = make_token();
    write_settings(models_and_more);
    start();
}

PrivateAdmind::~PrivateAdmind() {
    stop();
}

PrivateAdmind& PrivateAdmind::shared() {
    static PrivateAdmind admind(kSharedSettings);
    return admind;
}

std::string PrivateAdmind::yaml(const std::string& models_and_more) const {
    return std::string("version: 2\napp:\n  public_url: ") + kPublicUrl + "\n  secret_key: " + kSecret +
           "\n  encryption_key: " + kSecret + "\n  listen: 127.0.0.1:1\n  database: {url: \"" + database +
           "\"}\n  debug: true\n  dev_user: {email: " + kDevUser +
           "}\n  logs: {level: error, access: false}\nredis: {url: \"" + redis_server.url() + "\"}\nadmins: [" +
           kDevUser + "]\n" + models_and_more;
}

void PrivateAdmind::write_settings(const std::string& models_and_more) {
    const std::string path = directory.path() + "/lumen.yaml";
    std::ofstream(path + ".new") << yaml(models_and_more);
    std::rename((path + ".new").c_str(), path.c_str());
}

std::string PrivateAdmind::make_token() const {
    pqxx::connection connection(database);
    pqxx::work transaction(connection);
    const auto made = create_operator_token(transaction, kSecret, "tests", OperatorScope::admin, 0, "tests");
    transaction.commit();
    return made.secret;
}

void PrivateAdmind::start() {
    begin();
    wait_until_ready();
}

void PrivateAdmind::begin() {
    const std::string path = directory.path() + "/lumen.yaml";
    SettingsResult result = load_settings(path, {});
    for (const Finding& finding : result.findings) {
        if (finding.severity == Finding::Severity::error) ADD_FAILURE() << finding.path << ": " << finding.reason;
    }
    Settings settings = std::move(result.settings.value());
    settings.app.listen_port = 0;
    daemon = std::make_unique<Daemon>(std::move(settings), path, Environment{}, directory.path());
    daemon->start();
}

void PrivateAdmind::wait_until_ready() const {
    // 256 buckets are rebuilt first, on a machine that may run other suites as well.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(90);
    while (call("GET", "/readyz", {}).status != 200) {
        if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("admind did not become ready");
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

void PrivateAdmind::stop() {
    daemon.reset();
}

HttpReply PrivateAdmind::call(const std::string& method, const std::string& path, const Headers& headers,
                              const std::optional<std::string>& body) const {
    Poco::Net::HTTPClientSession session("127.0.0.1", daemon->port());
    session.setTimeout(Poco::Timespan(20, 0));
    Poco::Net::HTTPRequest request(method, path, "HTTP/1.1");
    for (const auto& [name, value] : headers) request.add(name, value);
    if (body) request.setContentLength64(static_cast<Poco::Int64>(body->size()));
    std::ostream& out = session.sendRequest(request);
    if (body) out << *body;
    Poco::Net::HTTPResponse response;
    std::istream& in = session.receiveResponse(response);
    HttpReply reply;
    reply.status = static_cast<int>(response.getStatus());
    for (const auto& [name, value] : response) reply.headers.emplace(lower(name), value);
    Poco::StreamCopier::copyToString(in, reply.text);
    // Answers may be nested deeper than requests: the contract is.
    reply.body = Json::parse(reply.text, nullptr, false);
    if (reply.body.is_discarded()) reply.body = Json();
    hold_to_contract(method, path, reply);
    return reply;
}

/// Every answer is as openapi.json lists it, and every change by an administrator is in the audit log.
void PrivateAdmind::hold_to_contract(const std::string& method, const std::string& path, const HttpReply& reply) const {
    const std::string wrong = contract_violation(method, path, reply);
    EXPECT_EQ(wrong, "") << method << " " << path << " " << reply.status << "\n" << reply.text.substr(0, 2000);
    static const std::set<std::string> kChangeNothing{
        "POST /api/v1/admin/groups/match", "POST /api/v1/admin/config/validate",
        "POST /api/v1/admin/models/{id}/endpoints/{eid}/probe", "POST /api/v1/admin/models/{id}/sync",
        "POST /api/v1/admin/reconcile"};
    const bool change = method != "GET" && method != "HEAD" && path.rfind("/api/v1/admin/", 0) == 0 &&
                        reply.status / 100 == 2 && reply.header("idempotency-replayed").empty() &&
                        kChangeNothing.count(route_of(method, path)) == 0;
    if (!change) return;
    EXPECT_EQ(row("select count(*) > 0 from audit_log where request_id = '" + reply.header("x-request-id") + "'")[0],
              "t")
        << "not in the audit log: " << method << " " << path;
}

HttpReply PrivateAdmind::as_operator(const std::string& method, const std::string& path, const Json& body) const {
    Headers headers = operator_headers();
    if (method == "POST")
        headers.emplace_back("Idempotency-Key", new_request_id());
    else if (method != "GET")
        headers.emplace_back("If-Match", "*");
    if (body.is_null()) return call(method, path, headers);
    headers.emplace_back("Content-Type", "application/json");
    return call(method, path, headers, body.dump());
}

HttpReply PrivateAdmind::Browser::call(const std::string& method, const std::string& path, const Json& body) const {
    Headers headers{{"Cookie", std::string(kSessionCookie) + "=" + cookie}, {"Sec-Fetch-Site", "same-origin"}};
    if (body.is_null()) return admind->call(method, path, headers);
    headers.emplace_back("Content-Type", "application/json");
    return admind->call(method, path, headers, body.dump());
}

std::string PrivateAdmind::new_email() const {
    static std::atomic<int> number{0};
    return "person-" + std::to_string(++number) + "@example.edu";
}

PrivateAdmind::Browser PrivateAdmind::browser_of(std::int64_t user, const std::string& account) const {
    RedisLink redis(redis_server.url(), std::chrono::seconds(5));
    const NewSession session = begin_session(redis, user, std::stoll(account), unix_ms_now());
    return {this, session.cookie, user, account};
}

PrivateAdmind::Browser PrivateAdmind::new_person(const std::string& limits_max) const {
    const HttpReply user = as_operator("POST", "/api/v1/admin/users", {{"email", new_email()}, {"name", "A Person"}});
    EXPECT_EQ(user.status, 201) << user.text;
    const auto account = user.body["account"].get<std::string>();
    if (!limits_max.empty()) {
        const HttpReply limits =
            as_operator("PUT", "/api/v1/admin/accounts/" + account + "/limits", {{"max", limits_max}});
        EXPECT_EQ(limits.status, 200) << limits.text;
    }
    return browser_of(std::stoll(user.body["id"].get<std::string>()), account);
}

std::vector<std::string> PrivateAdmind::row(const std::string& query) const {
    pqxx::connection connection(database);
    pqxx::work transaction(connection);
    std::vector<std::string> values;
    const auto result = transaction.exec(query);
    if (result.empty()) return values;
    for (const auto& field : result[0]) values.push_back(field.is_null() ? "" : field.as<std::string>());
    return values;
}

void PrivateAdmind::execute(const std::string& statement) const {
    pqxx::connection connection(database);
    pqxx::work transaction(connection);
    transaction.exec(statement);
    transaction.commit();
}

}  // namespace lumen::admind
