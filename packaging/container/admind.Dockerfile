# The daemon: books, refills, REST. From the top of a checkout:
#   docker build --file packaging/container/admind.Dockerfile --tag lumen-admind .
# Building fetches packages; running fetches nothing.
ARG DEBIAN=bookworm

FROM debian:${DEBIAN} AS packages
WORKDIR /lumen
COPY packaging/install-packages.sh packaging/apt-build.txt packaging/apt-package.txt packaging/
RUN packaging/install-packages.sh packaging/apt-build.txt packaging/apt-package.txt
COPY . .
RUN packaging/build-packages.sh /packages

FROM debian:${DEBIAN}-slim
COPY --from=packages /packages/lumen-admind_*.deb /tmp/
# Versions are those of the Debian release that DEBIAN names. The package makes the user `lumen`, here with a number that
# volumes can be given to, and draws the secrets of an installation, which an image must not have.
# hadolint ignore=DL3008
RUN groupadd --system --gid 901 lumen \
    && useradd --system --uid 901 --gid lumen --home-dir /var/lib/lumen-admind --shell /usr/sbin/nologin lumen \
    && apt-get update \
    && apt-get install --yes --no-install-recommends systemd-standalone-sysusers \
    && apt-get install --yes --no-install-recommends /tmp/lumen-admind_*.deb ca-certificates curl \
    && rm -rf /etc/lumen/installation.secret /etc/lumen/admind.env /tmp/* /var/lib/apt/lists/* \
    && install --directory --owner=lumen --group=lumen --mode=0700 /var/lib/lumen-admind
ENV LUMEN_CONFIG=/etc/lumen/lumen.yaml \
    LUMEN_LISTEN=0.0.0.0:5001 \
    STATE_DIRECTORY=/var/lib/lumen-admind
USER 901:901
EXPOSE 5001
# What was done while Postgres was away, until it is in the book.
VOLUME /var/lib/lumen-admind
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:5001/healthz"]
ENTRYPOINT ["lumen-admind"]
CMD ["serve"]
