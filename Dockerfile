# docker build -t pubsub-server .
# docker run --read-only --tmpfs /tmp -v pubsub:/data -p 5000:5000 -e PUBSUB_JWT_SECRET=... pubsub-server
FROM python:3.13-slim AS build
WORKDIR /build
RUN python -m venv /opt/pubsub
COPY requirements.txt ./
RUN /opt/pubsub/bin/pip install --no-cache-dir --disable-pip-version-check -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY migrations migrations
COPY src src
RUN /opt/pubsub/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --create-home pubsub
COPY --from=build /opt/pubsub /opt/pubsub
ENV PATH=/opt/pubsub/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PUBSUB_PORT=5000 \
    PUBSUB_DATABASE_URL=sqlite:////data/pubsub.db
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 5000
# Public, so that it needs no token; not `ready`, so that nobody restarts a node whose Redis is away.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-c", \
    "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PUBSUB_PORT\"]}/health/live', timeout=4)"]
ENTRYPOINT ["pubsub-server"]
CMD ["serve"]
