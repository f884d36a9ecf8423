#!/usr/bin/env bash
# install-packages.sh LIST...: installs the Debian packages of these lists that are missing, without letting any of them
# start a service. Says nothing and needs no rights when nothing is missing.
set -euo pipefail

policy=/usr/sbin/policy-rc.d
policy_mark='# Placed by Lumen while it installs packages; gone afterwards.'

# Each line: a package, and maybe a program that does as well.
missing_packages() {
    local package program
    sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$@" | sort -u | while read -r package program; do
        if [ -n "$program" ] && command -v "$program" >/dev/null; then continue; fi
        case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)" in
            *' ok installed') ;;
            *) echo "$package" ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# A policy of the machine's own stays in charge; one of ours that a killed run left behind does not.
forbid_service_starts() {
    if [ -e "$policy" ] && ! grep -qF "$policy_mark" "$policy"; then return; fi
    trap allow_service_starts EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\n%s\nexit 101\n' "$policy_mark" | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

allow_service_starts() {
    as_root rm -f "$policy"
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
        apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

main() {
    local packages log
    mapfile -t packages < <(missing_packages "$@")
    if [ ${#packages[@]} -eq 0 ]; then return 0; fi

    if ! command -v apt-get >/dev/null; then
        echo "Lumen installs what it needs on Debian 12 and 13. Here these are missing: ${packages[*]}" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        printf 'These packages are missing, and without sudo only root can install them:\n  apt-get install --no-install-recommends %s\n' \
            "${packages[*]}" >&2
        return 1
    fi

    echo "Installing ${#packages[@]} packages: ${packages[*]}" >&2
    log=$(mktemp)
    forbid_service_starts
    if ! { as_root dpkg --configure -a && apt update && apt install --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
        echo "Installing failed. The end of $log:" >&2
        tail -n 30 "$log" >&2
        return 1
    fi
    rm -f "$log"
}

main "$@"
