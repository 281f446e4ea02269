# Any image with Python 3.11 or newer and Debian's useradd serves as the base; pin it by digest where you build:
#   docker build --build-arg BASE=python:3.13-slim@sha256:... -t tracewatchd .
# Traces are mounted at /traces (read-only is enough), the embedded Postgres lives in the volume /var/lib/tracewatchd:
#   docker run -v /srv/traces:/traces:ro -v tracewatchd:/var/lib/tracewatchd tracewatchd
# With a database of your own: -e TRACEWATCHD_DATABASE__URL=..., or the secret
# /run/secrets/tracewatchd_database__url.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
RUN python3 -m venv --without-pip /opt/tracewatchd
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY daemon daemon
RUN python3 -m pip --python /opt/tracewatchd install --no-cache-dir --disable-pip-version-check \
    --constraint constraints.txt '.[embedded]'

FROM ${BASE}
# A fixed number, so that a volume keeps its owner from image to image; initdb wants it to have a name.
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/tracewatchd --shell /usr/sbin/nologin tracewatchd \
    && install --directory --owner=tracewatchd --group=tracewatchd --mode=0700 /var/lib/tracewatchd \
    && install --directory /traces
COPY --from=build /opt/tracewatchd /opt/tracewatchd
ENV PATH=/opt/tracewatchd/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TRACEWATCHD_LOG__FORMAT=json \
    TRACEWATCHD_WATCH__ROOTS='["/traces"]'
USER 10001:10001
WORKDIR /var/lib/tracewatchd
VOLUME /var/lib/tracewatchd
STOPSIGNAL SIGTERM
ENTRYPOINT ["tracewatchd"]
CMD ["run"]
