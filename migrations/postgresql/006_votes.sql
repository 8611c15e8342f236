-- Votes on suggestions, one a user, and how each suggestion stands by them.

CREATE TABLE suggestions (
    suggestion_id text COLLATE "C" PRIMARY KEY,
    up bigint NOT NULL,
    down bigint NOT NULL
);

CREATE TABLE votes (
    suggestion_id text COLLATE "C" NOT NULL,
    voter text COLLATE "C" NOT NULL,
    value smallint NOT NULL CHECK (value IN (-1, 0, 1)),  -- 0: withdrawn
    at double precision NOT NULL,
    PRIMARY KEY (suggestion_id, voter)
);
