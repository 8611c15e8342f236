-- Whom the server lets in, beside what their tokens say. `version` changes with every change of the
-- other two, whoever makes it: running servers look at it every second.

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    created_at REAL NOT NULL,
    disabled_at REAL                       -- NULL: may come in
) WITHOUT ROWID;

CREATE TABLE revoked_tokens (
    token_id TEXT PRIMARY KEY,             -- the claim jti
    revoked_at REAL NOT NULL,
    expires_at REAL                        -- when the token ends by itself; NULL: not known
) WITHOUT ROWID;

CREATE TABLE access (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL
);
INSERT INTO access (id, version) VALUES (1, 1);

CREATE TRIGGER user_added AFTER INSERT ON users
BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER user_changed AFTER UPDATE ON users
BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER user_removed AFTER DELETE ON users
BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER token_revoked AFTER INSERT ON revoked_tokens
BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER revocation_changed AFTER UPDATE ON revoked_tokens
BEGIN UPDATE access SET version = version + 1; END;
CREATE TRIGGER revocation_removed AFTER DELETE ON revoked_tokens
BEGIN UPDATE access SET version = version + 1; END;
