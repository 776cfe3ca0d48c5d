# The sample application's reset as an image: small, not root, and with its content built in, so that a reset in the
# cluster runs no step. See docs/kubernetes.md.
#
#   docker build --build-arg AS_OF=2026-11-26 -t groombook-reset .
#   docker run --rm --read-only --tmpfs /tmp --cap-drop ALL -e DATABASE_URL groombook-reset
#
# With --build-arg LOAD=yes it has NumPy for `invoke load` besides, and its content is all but empty, as a load wants it.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
RUN useradd --create-home builder && python3 -m venv /venv && python3 -m venv /build
ARG LOAD
COPY deploy/requirements*.txt /tmp/
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.txt ${LOAD:+-r /tmp/requirements-load.txt}
RUN /build/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements-build.txt
WORKDIR /app
COPY pyproject.toml tasks.py ./
COPY dbtools dbtools
COPY groombook groombook
COPY migrations migrations
RUN chown builder .
USER builder
ARG PROFILE=demo
ARG AS_OF
# The server that the content is built on stays in this stage.
RUN ${LOAD:+env SEED_KNOWN_USERS_ONLY=true} /build/bin/invoke snapshot.save content.dbsnap --profile "$PROFILE" ${AS_OF:+--as-of "$AS_OF"} \
 && /build/bin/invoke server.stop && rm -rf .dbtools && chmod 640 content.dbsnap

FROM ${BASE}
COPY --from=build /venv /venv
# Some clusters choose the account themselves, and keep to group 0.
COPY --from=build --chown=10001:0 /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DBTOOLS_LOG=json
USER 10001:0
ENTRYPOINT ["invoke"]
CMD ["reset", "--from", "content.dbsnap"]
