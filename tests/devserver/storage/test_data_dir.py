"""A data directory: saved state is restored; torn logs and damaged files are distinguished."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest

from zkrecipes.codec.records import ACL, Id
from zkrecipes.devserver.data_tree import DataTree, ZNode, ZNodeKind
from zkrecipes.devserver.storage.data_dir import FILE_NAME, DataDir, DataDirError
from zkrecipes.devserver.storage.rows import ChangedRows, Row, SessionRow, StateRow, row_of
from zkrecipes.devserver.storage.tables import SavedState

ANYONE = (ACL(31, Id("world", "anyone")),)
SECRET = (ACL(1, Id("digest", "a:\udcff\0")), ACL(30, Id("ip", "::1")))
LOG_NAME = f"{FILE_NAME}-wal"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DataDir]:
    store = DataDir(tmp_path)
    yield store
    store.close()


def _tree() -> DataTree:
    tree = DataTree(start_counter=7)
    tree.add("/a", None, SECRET, 0x7F0000000000, 2)
    tree.add("/a/é", b"\0\xff" * 10, ANYONE, 3, 4, kind=ZNodeKind.EPHEMERAL, owner=(1 << 62) + 5)
    tree.add("/a-b", b"", ANYONE, 5, 6, kind=ZNodeKind.TTL, ttl_ms=1000)
    tree.set_data(tree.get("/a-b"), b"new", 1, 9, 10)
    tree.set_acl(tree.get("/a-b"), SECRET, 3)
    tree.remove("/a/é", 11)
    tree.add("/a/é", b"again", ANYONE, 12, 13, kind=ZNodeKind.EPHEMERAL, owner=7)
    return tree


def _changes(
    tree: DataTree, *, zxid: int = 1, sessions: Sequence[SessionRow] = (), from_scratch: bool = False
) -> ChangedRows:
    rows: list[Row] = [row_of(tree.get(path)) for path in tree.paths()]
    state = StateRow(zxid, 99, len(tree), len(sessions))
    return ChangedRows(state, rows, [], list(sessions), [], from_scratch)


def _of(node: ZNode) -> list[object]:
    return [getattr(node, slot) for slot in ZNode.__slots__ if slot != "children"]


def _saved(directory: Path) -> SavedState | None:
    store = DataDir(directory)
    try:
        return store.open()
    finally:
        store.close()


def _crashed(directory: Path, copy: Path) -> Path:
    """Copy the files as a killed process leaves them."""
    copy.mkdir()
    for file in directory.iterdir():
        shutil.copy(file, copy)
    return copy


# --- saved state is restored -------------------------------------------------------------------------------


def test_a_new_directory_holds_nothing(store: DataDir, tmp_path: Path) -> None:
    assert store.open() is None
    store.close()
    assert _saved(tmp_path) is None


def test_everything_about_a_znode_is_restored(store: DataDir, tmp_path: Path) -> None:
    store.open()
    tree = _tree()
    store.save(_changes(tree, zxid=1 << 62))
    store.close()
    saved = _saved(tmp_path)
    assert saved is not None
    assert (saved.zxid, saved.next_session_id) == (1 << 62, 99)
    loaded = DataTree(start_counter=7)
    for node in saved.znodes:
        loaded.restore(node)
    assert set(loaded.paths()) == set(tree.paths())
    for path in tree.paths():
        assert _of(loaded.get(path)) == _of(tree.get(path))
        assert loaded.get(path).stat() == tree.get(path).stat()
    assert loaded.all_ephemerals() == tree.all_ephemerals()
    assert [path for path, _ in loaded.reapable()] == ["/a-b"]


def test_sessions_and_removals_are_restored(store: DataDir, tmp_path: Path) -> None:
    store.open()
    tree = _tree()
    sessions = [SessionRow(1, b"p" * 16, 1.5), SessionRow(2, b"q" * 16, 2.0)]
    store.save(_changes(tree, sessions=sessions))
    tree.remove("/a-b", 20)
    state = StateRow(20, 100, len(tree), 1)
    store.save(ChangedRows(state, [row_of(tree.get("/"))], [("/a-b",)], [], [(1,)], from_scratch=False))
    store.close()
    saved = _saved(tmp_path)
    assert saved is not None
    assert saved.sessions == [sessions[1]]
    assert {node.path for node in saved.znodes} == set(tree.paths())


def test_a_state_from_scratch_replaces_all(store: DataDir, tmp_path: Path) -> None:
    store.open()
    store.save(_changes(_tree(), sessions=[SessionRow(1, b"p" * 16, 1.5)]))
    store.save(_changes(DataTree(), zxid=50, from_scratch=True))
    store.close()
    saved = _saved(tmp_path)
    assert saved is not None
    assert (saved.zxid, len(saved.znodes), saved.sessions) == (50, 4, [])


def test_the_log_stays_small_however_much_is_written(store: DataDir, tmp_path: Path) -> None:
    store.open()
    tree = _tree()
    for version in range(200):
        tree.set_data(tree.get("/a"), bytes(100_000), version, version, version)
        store.save(_changes(tree, zxid=version))
        assert (tmp_path / LOG_NAME).stat().st_size < 8 * 1024 * 1024
    assert store.size() < 10 * 1024 * 1024


# --- a crash -----------------------------------------------------------------------------------------------


def test_wherever_the_log_is_torn_what_was_saved_before_is_there(store: DataDir, tmp_path: Path) -> None:
    store.open()
    tree, log, ends = _tree(), tmp_path / LOG_NAME, {}
    for zxid in range(1, 6):
        tree.set_data(tree.get("/a"), b"%d" % zxid * 3000, zxid, zxid, zxid)
        store.save(_changes(tree, zxid=zxid))
        ends[log.stat().st_size] = zxid
    last = max(ends)
    for index, size in enumerate([*range(100, last, 2771), *ends, *(end - 1 for end in ends)]):
        copy = _crashed(tmp_path, tmp_path.parent / f"{tmp_path.name}-{index}")
        with (copy / LOG_NAME).open("r+b") as file:
            file.truncate(size)
        saved = _saved(copy)
        expected = max((zxid for end, zxid in ends.items() if end <= size), default=None)
        assert (saved.zxid if saved is not None else None) == expected
        if saved is not None:
            assert next(node.data for node in saved.znodes if node.path == "/a") == b"%d" % saved.zxid * 3000
        # and it continues from there
        again = DataDir(copy)
        again.open()
        again.save(_changes(tree, zxid=100, from_scratch=True))
        again.close()
        assert (after := _saved(copy)) is not None
        assert after.zxid == 100


def test_a_log_damaged_in_the_middle_is_reported_and_kept(store: DataDir, tmp_path: Path) -> None:
    store.open()
    tree, log, ends = _tree(), tmp_path / LOG_NAME, []
    for zxid in range(1, 6):
        tree.set_data(tree.get("/a"), b"%d" % zxid * 3000, zxid, zxid, zxid)
        store.save(_changes(tree, zxid=zxid))
        ends.append(log.stat().st_size)
    whole = log.read_bytes()
    for index, position in enumerate([*range(32), *range(32, ends[-1], 1237)]):
        copy = _crashed(tmp_path, tmp_path.parent / f"{tmp_path.name}-{index}")
        harmed = bytearray(whole)
        harmed[position] ^= 1
        (copy / LOG_NAME).write_bytes(harmed)
        if position < ends[-2]:
            with pytest.raises(DataDirError, match="is damaged, but not by a crash"):
                _saved(copy)
            assert (copy / LOG_NAME).read_bytes() == harmed
        else:  # the last commit, which a crash may tear
            saved = _saved(copy)
            assert saved is not None
            assert saved.zxid == 4


def test_what_an_earlier_log_left_over_is_no_damage(store: DataDir, tmp_path: Path) -> None:
    store.open()
    tree = _tree()
    for zxid in range(1, 61):
        tree.set_data(tree.get("/a"), bytes(200_000), zxid, zxid, zxid)
        store.save(_changes(tree, zxid=zxid))
    assert (tmp_path / LOG_NAME).stat().st_size < 60 * 200_000  # so SQLite has restarted the log in between
    copy = _crashed(tmp_path, tmp_path.parent / f"{tmp_path.name}-copy")
    saved = _saved(copy)
    assert saved is not None
    assert saved.zxid == 60


def test_garbage_at_the_end_of_the_log_is_left_out(store: DataDir, tmp_path: Path) -> None:
    store.open()
    store.save(_changes(_tree(), zxid=5))
    copy = _crashed(tmp_path, tmp_path.parent / f"{tmp_path.name}-copy")
    with (copy / LOG_NAME).open("ab") as file:
        file.write(b"garbage" * 1000)
    saved = _saved(copy)
    assert saved is not None
    assert saved.zxid == 5


def test_an_incomplete_directory_is_created_again(tmp_path: Path) -> None:
    (tmp_path / "zkrecipes-devserver.new").write_bytes(b"half")
    (tmp_path / "zkrecipes-devserver.new-journal").write_bytes(b"half")
    assert _saved(tmp_path) is None
    assert {file.suffix for file in tmp_path.iterdir()} <= {
        ".lock",
        ".sqlite3",
        ".sqlite3-shm",
        ".sqlite3-wal",
    }


# --- unusable directories ----------------------------------------------------------------------------------


def _garbage(directory: Path) -> None:
    (directory / FILE_NAME).write_bytes(b"no database at all " * 1000)


def _empty(directory: Path) -> None:
    (directory / FILE_NAME).write_bytes(b"")


def _cut(directory: Path) -> None:
    with (directory / FILE_NAME).open("r+b") as file:
        file.truncate(file.seek(0, 2) // 2)


def _zeroed_page(directory: Path) -> None:
    file = directory / FILE_NAME
    data = bytearray(file.read_bytes())
    data[-4096:] = bytes(4096)
    file.write_bytes(data)


def _flipped_byte(directory: Path) -> None:
    file = directory / FILE_NAME
    data = file.read_bytes()
    assert b"somebody's data" in data
    file.write_bytes(data.replace(b"somebody's data", b"somebody's datb"))


def _only_a_log(directory: Path) -> None:
    (directory / FILE_NAME).rename(directory / LOG_NAME)


def _no_lock(directory: Path) -> None:
    (directory / "zkrecipes-devserver.lock").write_bytes(b"no lock at all " * 1000)


def _somebody_elses(directory: Path) -> None:
    (directory / FILE_NAME).unlink()
    other = sqlite3.connect(directory / FILE_NAME)
    other.execute("CREATE TABLE mine (x)")
    other.close()


def _from_another_release(directory: Path) -> None:
    database = sqlite3.connect(directory / FILE_NAME)
    database.execute("PRAGMA user_version = 3")
    database.close()


def _executed(statement: str) -> Callable[[Path], None]:
    def harm(directory: Path) -> None:
        database = sqlite3.connect(directory / FILE_NAME, isolation_level=None)
        database.execute(statement)
        database.close()

    return harm


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (_garbage, "is damaged: .*not a database"),
        (_empty, "is damaged: .* is empty"),
        (_cut, "is damaged: .*malformed"),
        (_zeroed_page, "is damaged: "),
        (_flipped_byte, "is damaged: the checksum of znode '/a' is wrong"),
        (_only_a_log, "is damaged: .* is missing, but its log exists"),
        (
            _no_lock,
            "is damaged: .*lock is not a lock file of a dev server; it contains no data",
        ),
        (_somebody_elses, "is damaged: the database belongs to another application"),
        (_from_another_release, r"was written by another release \(format 3, not 2\)"),
        (_executed("DELETE FROM znode WHERE path = '/a/é'"), "is damaged: there are 6 znodes instead of 7"),
        (_executed("DELETE FROM session"), "is damaged: there are 0 sessions instead of 1"),
        (_executed("DELETE FROM state"), "is damaged: there are 7 znodes instead of 0"),
        (_executed("UPDATE state SET zxid = 0"), "is damaged: the checksum of the last zxid is wrong"),
        (_executed("UPDATE session SET timeout = 2"), "is damaged: the checksum of session 5 is wrong"),
        (_executed("ALTER TABLE znode RENAME TO node"), "is damaged: .*no such table: znode"),
    ],
)
def test_a_damaged_directory_is_one_line_and_stays_as_it_is(
    harm: Callable[[Path], None], why: str, store: DataDir, tmp_path: Path
) -> None:
    store.open()
    tree = _tree()
    tree.set_data(tree.get("/a"), b"somebody's data" + bytes(20_000), 1, 1, 1)
    store.save(_changes(tree, sessions=[SessionRow(5, b"p" * 16, 1.5)]))
    store.close()
    harm(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm")}
    for _ in range(2):
        with pytest.raises(DataDirError, match=why) as raised:
            _saved(tmp_path)
        assert str(raised.value).startswith(f"data directory {tmp_path} ")
        assert "\n" not in str(raised.value)
    after = {name: (tmp_path / name).read_bytes() for name in before}
    assert after == before


def test_no_flipped_bit_is_taken_for_data(store: DataDir, tmp_path: Path) -> None:
    store.open()
    store.save(_changes(_tree(), sessions=[SessionRow(5, b"p" * 16, 1.5), SessionRow(6, b"q" * 16, 3.0)]))
    store.close()
    file = tmp_path / FILE_NAME
    whole, expected = file.read_bytes(), _plain(_saved(tmp_path))
    random, damaged_count = Random(1), 0
    for position in random.sample([place for place, byte in enumerate(whole) if byte], 300):
        harmed = bytearray(whole)
        harmed[position] ^= 1 << random.randrange(8)
        file.write_bytes(harmed)
        try:
            assert _plain(_saved(tmp_path)) == expected, f"byte {position}"
        except DataDirError as error:
            damaged_count += "is damaged" in str(error) or "another release" in str(error)
    assert damaged_count > 200


def _plain(saved: SavedState | None) -> object:
    assert saved is not None
    return saved._replace(znodes=[]), [_of(node) for node in saved.znodes]


def test_a_damaged_table_keeps_the_log_beside_it(store: DataDir, tmp_path: Path) -> None:
    store.open()
    store.save(_changes(_tree()))
    store.close()
    store.open()
    store.save(_changes(_tree(), zxid=2))
    copy = _crashed(tmp_path, tmp_path.parent / f"{tmp_path.name}-copy")
    database = copy / FILE_NAME
    database.write_bytes(b"x" * database.stat().st_size)
    before = {name: (copy / name).read_bytes() for name in (FILE_NAME, LOG_NAME)}
    assert before[LOG_NAME]
    with pytest.raises(DataDirError, match="is damaged"):
        _saved(copy)
    assert {name: (copy / name).read_bytes() for name in before} == before


def test_a_directory_is_used_by_one_at_a_time(store: DataDir, tmp_path: Path) -> None:
    store.open()
    with pytest.raises(DataDirError, match=r"is in use by another server$"):
        _saved(tmp_path)
    store.save(_changes(_tree()))
    store.close()
    assert _saved(tmp_path) is not None


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataDirError, match=r"cannot be used: (File exists|Not a directory)$"):
            _saved(path)


def test_a_folder_with_the_name_of_the_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(DataDirError, match=r"cannot be used: |is damaged: "):
        _saved(tmp_path)
