# tracewatchd as a container, most often as a sidecar; docs/docker.md says how to run it.
#   docker build -t tracewatchd .
# Any image of Debian or a relative with Python 3.11 or newer serves as the base; pin it by digest where you build:
#   docker build --build-arg BASE=python:3.13-slim@sha256:... -t tracewatchd .
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
# The init of the final stage, built without shared libraries, so that one file is all that is copied.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini=0.19.0-* \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python3 -m venv --without-pip /opt/tracewatchd
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY daemon daemon
RUN python3 -m pip --python /opt/tracewatchd install --no-cache-dir --disable-pip-version-check \
    --constraint constraints.txt '.[embedded]'

FROM ${BASE}
LABEL org.opencontainers.image.title="tracewatchd" \
      org.opencontainers.image.description="Watches LangSmith run files and keeps every one a row in Postgres" \
      org.opencontainers.image.licenses="MIT"
# Fixed numbers, so that a volume keeps its owner from image to image; initdb wants the user to have a name. A machine
# id would be the same in every container of the image: without one, the host's name tells containers apart.
RUN groupadd --system --gid 10001 tracewatchd \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/tracewatchd --shell /usr/sbin/nologin tracewatchd \
    && install --directory --owner=tracewatchd --group=tracewatchd --mode=0700 /var/lib/tracewatchd \
    && install --directory /traces \
    && rm -f /etc/machine-id /var/lib/dbus/machine-id
COPY --from=build /usr/share/doc/tini/copyright /usr/share/doc/tini/copyright
COPY --from=build /usr/bin/tini-static /usr/local/bin/tini
COPY --from=build /opt/tracewatchd /opt/tracewatchd
ENV PATH=/opt/tracewatchd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TRACEWATCHD_LOG__FORMAT=json \
    TRACEWATCHD_WATCH__ROOTS='["/traces"]'
USER 10001:10001
WORKDIR /var/lib/tracewatchd
VOLUME /var/lib/tracewatchd
STOPSIGNAL SIGTERM
# The first look is after 30 s and it takes three failures in a row: 90 s, more than any start needs.
HEALTHCHECK --interval=30s --timeout=10s --retries=3 CMD ["tracewatchd", "health"]
# Process 1 inherits the orphans of the embedded server. tini buries them, passes signals on, and ends with our exit
# status; -s, so that it does the same, and says nothing, where it is not process 1 (docker run --init, a shared PID
# namespace).
ENTRYPOINT ["tini", "-s", "--", "tracewatchd"]
CMD ["run"]
