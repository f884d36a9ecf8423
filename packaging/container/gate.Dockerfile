# The gate: nginx with the module, and the pages. From the top of a checkout:
#   docker build --file packaging/container/gate.Dockerfile --tag lumen-gate .
# Building fetches packages; running fetches nothing.
ARG DEBIAN=bookworm

FROM debian:${DEBIAN} AS packages
WORKDIR /lumen
COPY packaging/install-packages.sh packaging/apt-build.txt packaging/apt-package.txt packaging/
RUN packaging/install-packages.sh packaging/apt-build.txt packaging/apt-package.txt
COPY . .
RUN packaging/build-packages.sh /packages

FROM debian:${DEBIAN}-slim
COPY --from=packages /packages/libnginx-mod-http-lumen_*.deb /packages/lumen-admind_*.deb /tmp/
# Versions are those of the Debian release that DEBIAN names. Of the daemon's package the gate serves only the pages.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends /tmp/libnginx-mod-http-lumen_*.deb ca-certificates curl \
    && dpkg-deb --extract /tmp/lumen-admind_*.deb /tmp/admind \
    && mv /tmp/admind/usr/share/lumen /usr/share/lumen \
    && install --directory --owner=www-data --group=www-data --mode=0750 /var/lib/lumen \
    && install --directory --owner=www-data --group=www-data /run/lumen \
    && rm -rf /tmp/* /var/lib/apt/lists/*
COPY nginx-conf/nginx.conf packaging/container/nginx.conf.sed /etc/nginx/
COPY packaging/container/gate.conf /etc/lumen/gate.conf
RUN sed --in-place --file=/etc/nginx/nginx.conf.sed /etc/nginx/nginx.conf
# www-data, by number: Kubernetes must see that it is not root.
USER 33:33
# 8080: clients, pages. 8081: probes and metrics.
EXPOSE 8080 8081
# The ring: the last record of what is not yet settled. It must outlive the container.
VOLUME /var/lib/lumen
# Running streams end in peace, new connections go elsewhere.
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["curl", "--fail", "--silent", "--show-error", "--output", "/dev/null", "http://127.0.0.1:8081/healthz"]
ENTRYPOINT ["nginx", "-e", "stderr", "-g", "daemon off;"]
