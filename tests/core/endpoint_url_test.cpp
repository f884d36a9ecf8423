#include "lumen_core/endpoint_url.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

namespace lumen {
namespace {

/// "https host path", or "refused".
std::string read(std::string_view url) {
    const auto parsed = parse_endpoint_url(url);
    if (!parsed) return "refused";
    return (parsed->https ? "https " : "http ") + parsed->host + " " + parsed->path_prefix;
}

TEST(endpoint_url, is_taken_apart) {
    EXPECT_EQ(read("http://gpu1:8000/v1"), "http gpu1:8000 /v1");
    EXPECT_EQ(read("https://models.example.edu/llama/v1/"), "https models.example.edu /llama/v1");
    EXPECT_EQ(read("http://gpu1"), "http gpu1 ");
    EXPECT_EQ(read("http://gpu1/"), "http gpu1 ");
    EXPECT_EQ(read("http://[2001:db8::1]:8000/v1"), "http [2001:db8::1]:8000 /v1");
    EXPECT_EQ(read("https://[::1]"), "https [::1] ");
    EXPECT_EQ(read("http://10.0.0.1:1/~a%20b"), "http 10.0.0.1:1 /~a%20b");
}

TEST(endpoint_url, default_port_is_not_part_of_the_host) {
    EXPECT_EQ(read("http://gpu1:80/v1"), "http gpu1 /v1");
    EXPECT_EQ(read("https://gpu1:443/v1"), "https gpu1 /v1");
    EXPECT_EQ(read("https://gpu1:80/v1"), "https gpu1:80 /v1");
    EXPECT_EQ(read("http://gpu1:443/v1"), "http gpu1:443 /v1");
}

TEST(endpoint_url, that_could_break_a_request_is_refused) {
    for (const char* url : {"",
                            "gpu1:8000",
                            "ftp://gpu1",
                            "http:/gpu1",
                            "http://",
                            "http:///v1",
                            "http://:8000",
                            "http://gpu1:",
                            "http://gpu1:0",
                            "http://gpu1:65536",
                            "http://gpu1:080",
                            "http://gpu1:8000x",
                            "http://user@gpu1",
                            "http://user:pw@gpu1/",
                            "http://gpu 1",
                            "http://gpu1/v 1",
                            "http://gpu1/v1\r\nx: y",
                            "http://gpu1\r\n",
                            "http://gpu1/v1?a=b",
                            "http://gpu1/v1#a",
                            "http://[::1",
                            "http://[gpu1]:80",
                            "http://::1:80",
                            "http://gpu1/\"",
                            "http://gpu1/\x7f",
                            "http://gpu1/\xC3\xB6",
                            "HTTP://gpu1"}) {
        EXPECT_EQ(read(url), "refused") << url;
    }
    EXPECT_EQ(read("http://" + std::string(254, 'a')), "refused");
    EXPECT_EQ(read("http://a/" + std::string(256, 'a')), "refused");
    EXPECT_EQ(read(std::string_view("http://gpu1\0.example", 20)), "refused");
}

/// What inet_ntop makes of it again, and the port.
std::string socket_text(std::string_view text) {
    const auto address = parse_endpoint_address(text);
    if (!address) return "refused";
    EXPECT_EQ(address->text, text);
    std::array<char, INET6_ADDRSTRLEN> ip{};
    inet_ntop(address->ipv6 ? AF_INET6 : AF_INET, address->ip.data(), ip.data(), ip.size());
    return std::string(ip.data()) + " " + std::to_string(address->port);
}

TEST(endpoint_address, is_taken_apart) {
    EXPECT_EQ(socket_text("127.0.0.1:8000"), "127.0.0.1 8000");
    EXPECT_EQ(socket_text("192.0.2.255:65535"), "192.0.2.255 65535");
    EXPECT_EQ(socket_text("[::1]:1"), "::1 1");
    EXPECT_EQ(socket_text("[2001:db8::7:8]:443"), "2001:db8::7:8 443");
}

TEST(endpoint_address, is_an_ip_literal_with_a_port) {
    for (const char* address :
         {"127.0.0.1:8000", "[::1]:8000", "[2001:db8::7]:443", "0.0.0.0:1", "[::ffff:10.0.0.1]:65535"}) {
        EXPECT_TRUE(parse_endpoint_address(address)) << address;
    }
    for (const char* address : {"",
                                ":",
                                "gpu1:8000",
                                "127.0.0.1",
                                "127.0.0.1:",
                                "127.0.0.1:0",
                                "127.0.0.1:65536",
                                "127.0.0.1:-1",
                                "127.0.0.1:+1",
                                "127.0.0.1:08",
                                "127.0.0.1:8000 ",
                                " 127.0.0.1:8000",
                                "127.1:80",
                                "127.0.0.256:80",
                                "::1:8000",
                                "[::1]",
                                "[::1]:",
                                "[::1",
                                "[127.0.0.1]:80",
                                "[::1]x:80",
                                "[fe80::1%lo]:80",
                                "unix:/run/x:1"}) {
        EXPECT_FALSE(parse_endpoint_address(address)) << address;
    }
    EXPECT_FALSE(parse_endpoint_address(std::string_view("127.0.0.1\0:80", 13)));
    EXPECT_FALSE(parse_endpoint_address(std::string(1000, '1') + ":80"));
}

}  // namespace
}  // namespace lumen
