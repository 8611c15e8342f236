-- What retention takes too early: from consumers that had not confirmed it, and from deduplication.

-- The position of the last message that was deleted. For what earlier versions deleted: the latest
-- that it can have been.
ALTER TABLE topics ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;
UPDATE topics SET trimmed = coalesce(
    (SELECT position - 1 FROM messages AS m
        WHERE m.topic_id = topics.topic_id AND m.sequence = topics.first),
    (SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0)
WHERE first > 1;

-- Of the deleted messages of a topic, a consumer wanted those behind the sequence `base` (NULL: all
-- of them, or none yet) and had confirmed so many. The rest is lost for it, and it is told: so much
-- was announced, and of that so much has surely arrived.
CREATE TABLE losses (
    topic_id INTEGER NOT NULL,
    consumer_id INTEGER NOT NULL,
    base INTEGER,
    confirmed INTEGER NOT NULL DEFAULT 0,
    announced INTEGER NOT NULL DEFAULT 0,
    told INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (topic_id, consumer_id)
) WITHOUT ROWID;
CREATE INDEX losses_announced ON losses (topic_id, consumer_id) WHERE announced > told;
CREATE INDEX interests_by_topic ON interests (topic, since);

-- Deleted messages that can still be published again by mistake: who they were, without content.
CREATE TABLE identities (
    topic_id INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    fingerprint INTEGER NOT NULL,
    producer TEXT NOT NULL,
    digest BLOB NOT NULL,                  -- of the content
    timestamp REAL NOT NULL,
    sequence INTEGER NOT NULL
);
CREATE INDEX identities_by_id ON identities (topic_id, message_id, fingerprint);
CREATE INDEX identities_by_time ON identities (timestamp);
