-- Votes on suggestions, one a user, and how each suggestion stands by them.

CREATE TABLE suggestions (
    suggestion_id TEXT PRIMARY KEY,
    up INTEGER NOT NULL,
    down INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE votes (
    suggestion_id TEXT NOT NULL,
    voter TEXT NOT NULL,
    value INTEGER NOT NULL CHECK (value IN (-1, 0, 1)),  -- 0: withdrawn
    at REAL NOT NULL,
    PRIMARY KEY (suggestion_id, voter)
) WITHOUT ROWID;
