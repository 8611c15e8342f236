-- What retention takes too early: from consumers that had not confirmed it, and from deduplication.

-- The position of the last message that was deleted.
ALTER TABLE topics ADD COLUMN trimmed bigint NOT NULL DEFAULT 0;

-- Of the deleted messages of a topic, a consumer wanted those behind the sequence `base` (NULL: all
-- of them, or none yet) and had confirmed so many. The rest is lost for it, and it is told: so much
-- was announced, and of that so much has surely arrived.
CREATE TABLE losses (
    topic_id bigint NOT NULL,
    consumer_id bigint NOT NULL,
    base bigint,
    confirmed bigint NOT NULL DEFAULT 0,
    announced bigint NOT NULL DEFAULT 0,
    told bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic_id, consumer_id)
);
CREATE INDEX losses_announced ON losses (topic_id, consumer_id) WHERE announced > told;
CREATE INDEX interests_by_topic ON interests (topic, since);

-- Deleted messages that can still be published again by mistake: who they were, without content.
CREATE TABLE identities (
    topic_id bigint NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    fingerprint bigint NOT NULL,
    producer text COLLATE "C" NOT NULL,
    digest bytea NOT NULL,                 -- of the content
    timestamp double precision NOT NULL,
    sequence bigint NOT NULL
);
CREATE INDEX identities_by_id ON identities (topic_id, message_id, fingerprint);
CREATE INDEX identities_by_time ON identities (timestamp);
