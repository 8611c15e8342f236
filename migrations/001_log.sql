-- The log: topics, messages, who consumed what, and the totals that pages show without scanning it.

CREATE TABLE log (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch TEXT NOT NULL,
    created_at REAL NOT NULL
);

CREATE TABLE topics (
    topic_id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL UNIQUE,
    sequence INTEGER NOT NULL DEFAULT 0,   -- the last one given
    first INTEGER NOT NULL DEFAULT 1,      -- the first one retained
    last_published_at REAL
);

CREATE TABLE messages (
    position INTEGER PRIMARY KEY AUTOINCREMENT,   -- order in the whole log; never given twice
    topic_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    message TEXT NOT NULL,                        -- JSON, as the publisher wrote it
    producer TEXT NOT NULL,
    timestamp REAL NOT NULL,
    fingerprint INTEGER NOT NULL
);
CREATE UNIQUE INDEX messages_by_sequence ON messages (topic_id, sequence);
CREATE INDEX messages_by_id ON messages (topic_id, message_id, fingerprint);
-- Ends with the position by itself: newest first from any position, for one topic or all.
CREATE INDEX messages_by_producer ON messages (producer, topic_id);

CREATE TABLE consumers (
    consumer_id INTEGER PRIMARY KEY,
    consumer TEXT NOT NULL UNIQUE
);

CREATE TABLE consumptions (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    topic_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    consumer_id INTEGER NOT NULL,
    timestamp REAL NOT NULL
);
CREATE UNIQUE INDEX consumptions_by_message ON consumptions (topic_id, sequence, consumer_id);
CREATE INDEX consumptions_by_consumer ON consumptions (consumer_id, topic_id);
CREATE INDEX consumptions_by_topic ON consumptions (topic_id);

-- What a consumer wants, a topic or a pattern, and the log's position when it first said so.
CREATE TABLE interests (
    consumer_id INTEGER NOT NULL,
    topic TEXT NOT NULL,
    since INTEGER NOT NULL,
    first_at REAL NOT NULL,
    PRIMARY KEY (consumer_id, topic)
) WITHOUT ROWID;

-- Totals, kept in the commit that changes them. An index on the time would cost each commit two
-- pages more, to spare a sort of a table that is small.
CREATE TABLE publishers (
    topic_id INTEGER NOT NULL,
    producer TEXT NOT NULL,
    messages INTEGER NOT NULL,
    last_at REAL NOT NULL,
    PRIMARY KEY (topic_id, producer)
) WITHOUT ROWID;

CREATE TABLE readers (
    topic_id INTEGER NOT NULL,
    consumer_id INTEGER NOT NULL,
    consumptions INTEGER NOT NULL,
    last_at REAL NOT NULL,
    PRIMARY KEY (topic_id, consumer_id)
) WITHOUT ROWID;
