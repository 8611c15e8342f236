-- The log: topics, messages, who consumed what, and the totals that pages show without scanning it.

-- Its one row is locked by every commit: whoever holds it gives the next positions and sequences.
CREATE TABLE log (
    id integer PRIMARY KEY CHECK (id = 1),
    epoch text NOT NULL,
    created_at double precision NOT NULL,
    position bigint NOT NULL DEFAULT 0,      -- the last one given to a message
    consumption bigint NOT NULL DEFAULT 0,   -- the last one given to a consumption
    timestamp double precision NOT NULL DEFAULT 0  -- of the newest message
);

CREATE TABLE topics (
    topic_id bigint PRIMARY KEY,
    topic text COLLATE "C" NOT NULL UNIQUE,
    sequence bigint NOT NULL DEFAULT 0,      -- the last one given
    first bigint NOT NULL DEFAULT 1,         -- the first one retained
    last_published_at double precision
);

CREATE TABLE messages (
    position bigint PRIMARY KEY,             -- order in the whole log, without gaps; never given twice
    topic_id bigint NOT NULL,
    sequence bigint NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    message text NOT NULL,                   -- JSON, as the publisher wrote it
    producer text COLLATE "C" NOT NULL,
    timestamp double precision NOT NULL,
    fingerprint bigint NOT NULL
);
CREATE UNIQUE INDEX messages_by_sequence ON messages (topic_id, sequence);
CREATE INDEX messages_by_id ON messages (topic_id, message_id, fingerprint);
CREATE INDEX messages_by_producer ON messages (producer, position);

CREATE TABLE consumers (
    consumer_id bigint PRIMARY KEY,
    consumer text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE consumptions (
    position bigint PRIMARY KEY,
    topic_id bigint NOT NULL,
    sequence bigint NOT NULL,
    consumer_id bigint NOT NULL,
    timestamp double precision NOT NULL
);
CREATE UNIQUE INDEX consumptions_by_message ON consumptions (topic_id, sequence, consumer_id);
CREATE INDEX consumptions_by_consumer ON consumptions (consumer_id, position);
CREATE INDEX consumptions_by_topic ON consumptions (topic_id, position);

-- What a consumer wants, a topic or a pattern, and the log's position when it first said so.
CREATE TABLE interests (
    consumer_id bigint NOT NULL,
    topic text COLLATE "C" NOT NULL,
    since bigint NOT NULL,
    first_at double precision NOT NULL,
    PRIMARY KEY (consumer_id, topic)
);

-- Totals, kept in the commit that changes them.
CREATE TABLE publishers (
    topic_id bigint NOT NULL,
    producer text COLLATE "C" NOT NULL,
    messages bigint NOT NULL,
    last_at double precision NOT NULL,
    PRIMARY KEY (topic_id, producer)
) WITH (fillfactor = 70);

CREATE TABLE readers (
    topic_id bigint NOT NULL,
    consumer_id bigint NOT NULL,
    consumptions bigint NOT NULL,
    last_at double precision NOT NULL,
    PRIMARY KEY (topic_id, consumer_id)
) WITH (fillfactor = 70);
