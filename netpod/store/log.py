"""The log on disk: one append-only table in SQLite, used by one thread.

    log(revision, key, created, previous, deleted, value)

A row per write, never changed; compaction deletes the rows that no listing or watch may ask for any more.
`previous` is the revision the write replaced (0: it created the key), so history can show each watcher what
an object was before, a state of the past is the present with later writes undone, and compaction knows what is
superseded. No question needs an index by key, which would double the pages that each commit writes and syncs.
A deletion's row repeats the last value.
"""

import contextlib
import functools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from netpod import errors
from netpod.store.present import end_of
from netpod.store.store import EMPTY, Event, EventType, KeyValue, Revision

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6E706F64  # "npod": file(1) and we can tell that this is ours
PAGE_BYTES = 8192
CHUNK = 500
"""Rows one step of compaction deletes, so that no writer waits long behind it."""
AT_ONCE = 64
"""Most rows of one statement."""

SCHEMA = """
CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    created INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    value BLOB NOT NULL
) STRICT;
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES ('compacted', 0);
"""


class Row(NamedTuple):
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
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY:
                raise errors.NetpodError(
                    f"cannot open store {path}: another process has it open"
                ) from error
            raise errors.NetpodError(f"cannot open store {path}: {error}") from error

    def _open(self) -> None:
        db = self._db
        # Of a new file. Three pods fit on a page, on one of SQLite's own 4096 bytes only one.
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
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
        db.execute("DROP INDEX IF EXISTS log_by_key")  # of netpod 0.x
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

    def current(self) -> dict[str, KeyValue]:
        """Every key that exists."""
        state: dict[str, KeyValue] = {}
        for key, value, created, revision, deleted in self._db.execute(
            "SELECT key, value, created, revision, deleted FROM log ORDER BY revision"
        ):
            if deleted:
                state.pop(key, None)
            else:
                state[key] = KeyValue(key, value, created, revision)
        return state

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows in one durable transaction: all or none.

        Raises:
            InsufficientStorage: the disk is full; nothing was written.
            Unavailable: it failed; nothing was written.
        """
        db = self._db
        with self._whole():
            # A statement is a transaction of its own. One for all rows gives the interpreter away, and has to wait
            # until the loop gives it back, once instead of for every row.
            if len(rows) <= AT_ONCE:
                db.execute(_insert(len(rows)), [field for row in rows for field in row])
            else:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(_insert(1), rows)
                db.execute("COMMIT")

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """Undo what fails half-way: a transaction left open would swallow every later write."""
        try:
            yield
        except Exception as error:  # the thread must live on, whatever one write was
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            full = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL
            kind = errors.InsufficientStorage if full else errors.Unavailable
            raise kind(f"cannot write store {self._path}: {error}") from error

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

    def begin_compaction(self, revision: Revision) -> list[Revision]:
        """Promise that nobody will be shown history up to `revision` again.

        Returns:
            Rows that no state from `revision` on needs, in ascending order: as long as they are dropped in this
            order, a kill in between never brings a deleted key back.

        Raises:
            InsufficientStorage, Unavailable: as for `append`; nothing was promised.
        """
        with self._whole():
            self._db.execute(
                "UPDATE meta SET value = ? WHERE name = 'compacted' AND value < ?",
                (revision, revision),
            )
        rows = self._db.execute(
            "SELECT revision FROM log WHERE revision <= ?"
            " AND (deleted OR revision IN (SELECT previous FROM log WHERE revision <= ?))"
            " ORDER BY revision",
            (revision, revision),
        )
        return [row[0] for row in rows]

    def drop(self, revisions: Iterable[Revision]) -> None:
        """Delete rows.

        Raises:
            InsufficientStorage, Unavailable: as for `append`; none is deleted.
        """
        with self._whole():
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("DELETE FROM log WHERE revision = ?", [(it,) for it in revisions])
            self._db.execute("COMMIT")

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it."""
        self._db.close()


@functools.cache
def _insert(rows: int) -> str:
    return "INSERT INTO log VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?)"] * rows)
