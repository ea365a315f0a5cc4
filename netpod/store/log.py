"""The log on disk: one append-only table in SQLite, used by one thread.

    log(revision, key, created, previous, deleted, value)

A row per write, never changed; compaction deletes the rows that no listing or watch may ask for any more.
`previous` is the revision the write replaced (0: it created the key), so history can show each watcher what
an object was before. A deletion's row repeats the last value.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from netpod import errors
from netpod.store.store import EMPTY, Event, EventType, KeyValue, Revision

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6E706F64  # "npod": file(1) and we can tell that this is ours
CHUNK = 500
"""Rows one step of compaction deletes, so that no writer waits long behind it."""

SCHEMA = """
CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    created INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    value BLOB NOT NULL
) STRICT;
CREATE INDEX log_by_key ON log (key, revision);
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES ('compacted', 0);
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One write, ready to be appended."""

    revision: Revision
    key: str
    created: Revision
    previous: Revision
    deleted: bool
    value: bytes


class Log:
    """The open database. Every method belongs to the one thread that opened it.

    Raises:
        NetpodError: the file is damaged, not ours, of a newer schema, or another process has it open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # Exclusive locking: our memory mirrors the file, so nobody else may write it. The kernel drops the lock
            # when the process dies, however it dies.
            self._db = sqlite3.connect(
                path, isolation_level=None, timeout=2.0, check_same_thread=True
            )
        except sqlite3.Error as error:
            raise errors.NetpodError(f"cannot open store {path}: {error}") from error
        try:
            path.chmod(0o600)
            self._open()
        except errors.NetpodError:
            self._db.close()
            raise
        except (sqlite3.Error, OSError) as error:
            self._db.close()
            raise errors.NetpodError(f"cannot open store {path}: {error}") from error

    def _open(self) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        # FULL: commit returns after fsync of the write-ahead log, so a power cut loses nothing acknowledged.
        db.execute("PRAGMA synchronous = FULL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        application = db.execute("PRAGMA application_id").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if tables == 0 and version == 0:
            db.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute("COMMIT")
            return
        if application != APPLICATION_ID:
            raise errors.NetpodError(f"cannot open store {self._path}: not a netpod store")
        if version > SCHEMA_VERSION:
            raise errors.NetpodError(
                f"cannot open store {self._path}: written by a newer netpod (schema {version}, "
                f"this one knows {SCHEMA_VERSION}); upgrade netpod"
            )
        found = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
        if found != ["ok"]:
            raise errors.NetpodError(f"cannot open store {self._path}: damaged: {found[0]}")

    @property
    def compacted(self) -> Revision:
        """Revision up to which history is forgotten."""
        row = self._db.execute("SELECT value FROM meta WHERE name = 'compacted'").fetchone()
        return Revision(row[0])

    def last(self) -> Revision:
        """Revision of the last write ever, also when compaction has deleted its row."""
        row = self._db.execute("SELECT max(revision) FROM log").fetchone()
        return Revision(max(row[0] or 0, self.compacted, EMPTY))

    def current(self) -> Iterator[KeyValue]:
        """Every key that exists, in key order."""
        rows = self._db.execute(
            "SELECT key, value, created, max(revision), deleted FROM log GROUP BY key ORDER BY key"
        )
        for key, value, created, revision, deleted in rows:
            if not deleted:
                yield KeyValue(key, value, created, revision)

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows in one durable transaction: all or none.

        Raises:
            InsufficientStorage: the disk is full; nothing was written.
            Unavailable: it failed; nothing was written.
        """
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(
                "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)",
                [(r.revision, r.key, r.created, r.previous, int(r.deleted), r.value) for r in rows],
            )
            db.execute("COMMIT")
        except Exception as error:  # the thread must live on, whatever one write was
            if db.in_transaction:
                db.execute("ROLLBACK")
            full = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
            kind = errors.InsufficientStorage if full else errors.Unavailable
            raise kind(f"cannot write store {self._path}: {error}") from error

    def listing(
        self, prefix: str, revision: Revision, limit: int, after: str
    ) -> tuple[list[KeyValue], int]:
        """Keys below `prefix` as they were at `revision`, and how many more there are."""
        rows = self._db.execute(
            "SELECT key, value, created, max(revision), deleted FROM log"
            " WHERE key >= ? AND key < ? AND key > ? AND revision <= ? GROUP BY key ORDER BY key",
            (prefix, end_of(prefix), after, revision),
        )
        found = [KeyValue(r[0], r[1], r[2], r[3]) for r in rows if not r[4]]
        return (found[:limit], max(0, len(found) - limit)) if limit else (found, 0)

    def history(self, prefix: str, since: Revision, until: Revision) -> list[Event]:
        """Events below `prefix` with since < revision <= until, in order."""
        rows = self._db.execute(
            "SELECT l.revision, l.key, l.created, l.deleted, l.value, p.revision, p.created, p.value"
            " FROM log l LEFT JOIN log p ON p.revision = l.previous AND l.previous > 0"
            " WHERE l.revision > ? AND l.revision <= ? AND l.key >= ? AND l.key < ? ORDER BY l.revision",
            (since, until, prefix, end_of(prefix)),
        )
        return [
            Event(
                EventType.DELETE if row[3] else EventType.PUT,
                KeyValue(row[1], row[4], row[2], row[0]),
                None if row[5] is None else KeyValue(row[1], row[7], row[6], row[5]),
            )
            for row in rows
        ]

    def begin_compaction(self, revision: Revision) -> None:
        """Promise that nobody will be shown history up to `revision` again."""
        self._db.execute(
            "UPDATE meta SET value = ? WHERE name = 'compacted' AND value < ?", (revision, revision)
        )

    def compact_chunk(self, after: Revision, revision: Revision) -> Revision | None:
        """Delete the next few rows that no state from `revision` on needs.

        Rows go in ascending order, so a kill between two chunks never brings a deleted key back.

        Returns:
            Revision to go on after, or None when all are gone.
        """
        rows = self._db.execute(
            "SELECT revision FROM log l WHERE revision > ? AND revision <= ? AND (deleted OR EXISTS"
            " (SELECT 1 FROM log n WHERE n.key = l.key AND n.revision > l.revision AND n.revision <= ?))"
            " ORDER BY revision LIMIT ?",
            (after, revision, revision, CHUNK),
        ).fetchall()
        if not rows:
            return None
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("DELETE FROM log WHERE revision = ?", rows)
        self._db.execute("COMMIT")
        return Revision(rows[-1][0])

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        self._db.close()


def end_of(prefix: str) -> str:
    """The first string after every string that begins with `prefix`, in SQLite's byte order."""
    return prefix + "\U0010ffff"
